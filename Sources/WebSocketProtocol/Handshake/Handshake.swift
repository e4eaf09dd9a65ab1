import Crypto
import FoundationEssentials

/// The server's side of the opening handshake over HTTP/1.1 (RFC 6455 §4.2).
public enum Handshake {
    /// Checks a request to upgrade and makes what the 101 answer needs.
    ///
    /// It takes time linear in the length of the fields.
    ///
    /// - Parameter deflate: how to compress, or nil to decline every offer of an extension.
    /// - Throws: status 426 for a WebSocket version other than 13, else 400. An offer of an extension that can't be
    ///   accepted is no reason to refuse: it is declined (RFC 7692 §5.1).
    public static func validate(
        _ request: UpgradeRequest,
        deflate: DeflateSettings? = nil
    ) throws(HandshakeRefusal) -> AcceptedUpgrade {
        try Self.checkRequestLine(request)
        try Self.checkHost(request.hosts)
        guard !request.hasBody else { throw .badRequest("A WebSocket handshake must not have a body.") }
        guard FieldSyntax.list(request.upgrade, contains: "websocket") else {
            throw .badRequest("The Upgrade header does not name websocket.")
        }
        guard FieldSyntax.list(request.connection, contains: "upgrade") else {
            throw .badRequest("The Connection header does not name Upgrade.")
        }
        try Self.checkVersion(request.version)
        let key = try Self.checkedKey(request.key)
        let protocols = try Self.checkedProtocols(request.protocols)
        return AcceptedUpgrade(
            acceptKey: Self.acceptKey(for: key),
            offeredProtocols: protocols,
            deflate: deflate.flatMap { NegotiatedDeflate(offers: request.extensions, settings: $0) }
        )
    }

    /// The value of `Sec-WebSocket-Accept` for the value of `Sec-WebSocket-Key` (§4.2.2).
    public static func acceptKey(for key: String) -> String {
        let suffix: StaticString = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        var hash = Insecure.SHA1()
        var key = key
        key.withUTF8 { hash.update(bufferPointer: UnsafeRawBufferPointer($0)) }
        suffix.withUTF8Buffer { hash.update(bufferPointer: UnsafeRawBufferPointer($0)) }
        return Data(hash.finalize()).base64EncodedString()
    }

    private static func checkRequestLine(_ request: UpgradeRequest) throws(HandshakeRefusal) {
        guard request.method == "GET" else { throw .badRequest("A WebSocket handshake must be a GET request.") }
        guard request.httpMajor == 1 && request.httpMinor >= 1 else {
            throw .badRequest("A WebSocket handshake needs HTTP/1.1.")
        }
        // An absolute form would let the client choose a host (§4.2.1 item 1 allows it; we are no forward proxy).
        guard request.target.utf8.first == UInt8(ascii: "/") else {
            throw .badRequest("The request target of a WebSocket handshake must start with a slash.")
        }
    }

    /// Wants exactly one host, made of visible ASCII without the marks that separate it from something else.
    private static func checkHost(_ hosts: [String]) throws(HandshakeRefusal) {
        guard hosts.count == 1, let host = hosts.first, !host.isEmpty else {
            throw .badRequest("A request must have exactly one Host header.")
        }
        let isPlain = host.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "/"), UInt8(ascii: "\\"), UInt8(ascii: "@"), UInt8(ascii: "?"), UInt8(ascii: "#"): false
            case 0x21...0x7E: true
            default: false
            }
        }
        guard isPlain else { throw .badRequest("The Host header is malformed.") }
    }

    private static func checkVersion(_ versions: [String]) throws(HandshakeRefusal) {
        guard versions.count == 1, let version = versions.first else {
            throw .badRequest("A WebSocket handshake must have exactly one Sec-WebSocket-Version header.")
        }
        guard FieldSyntax.trimmed(version[...].utf8).elementsEqual("13".utf8) else {
            throw HandshakeRefusal(status: 426, sentence: "Only version 13 of the WebSocket protocol is supported.")
        }
    }

    private static func checkedKey(_ keys: [String]) throws(HandshakeRefusal) -> String {
        guard keys.count == 1, let field = keys.first else {
            throw .badRequest("A WebSocket handshake must have exactly one Sec-WebSocket-Key header.")
        }
        // Nearly always there is nothing to trim.
        let key = field.utf8.count == 24 ? field : String(Substring(FieldSyntax.trimmed(field[...].utf8)))
        guard Self.isSixteenBytes(key) else {
            throw .badRequest("The Sec-WebSocket-Key header is not base64 of 16 bytes.")
        }
        return key
    }

    /// True when `key` is base64 (RFC 4648 §4) of exactly 16 bytes: 22 digits and `==`.
    ///
    /// The four bits that the last digit has to spare may be anything, as most decoders have it.
    private static func isSixteenBytes(_ key: String) -> Bool {
        // Foundation takes some texts with too much padding, or with a digit behind it.
        key.utf8.count == 24 && key.utf8.prefix { $0 != UInt8(ascii: "=") }.count == 22
            && Data(base64Encoded: key)?.count == 16
    }

    /// The offered subprotocols, which are distinct tokens (§4.1 item 10); a field that is there offers at least one.
    private static func checkedProtocols(_ fields: [String]) throws(HandshakeRefusal) -> [String] {
        guard !fields.isEmpty else { return [] }
        var offered: [String] = []
        var seen: Set<String> = []
        for element in FieldSyntax.elements(of: fields) {
            guard FieldSyntax.isToken(element) else {
                throw .badRequest("The Sec-WebSocket-Protocol header is malformed.")
            }
            let name = String(Substring(element))
            guard seen.insert(name).inserted else {
                throw .badRequest("The Sec-WebSocket-Protocol header names a protocol twice.")
            }
            offered.append(name)
        }
        guard !offered.isEmpty else { throw .badRequest("The Sec-WebSocket-Protocol header is malformed.") }
        return offered
    }
}

extension HandshakeRefusal {
    fileprivate static func badRequest(_ sentence: String) -> HandshakeRefusal {
        HandshakeRefusal(status: 400, sentence: sentence)
    }
}
