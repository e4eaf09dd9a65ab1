public import HTTP1

/// Decides who the client of a request is. Limits, logs and the app all use this result.
///
/// A peer that is not trusted is the client, whatever its headers say. From a trusted peer only the configured header
/// is read: proxies pass on headers that they don't know, so any other may have been written by the client.
public struct ClientAddressResolver: Sendable {
    /// How many elements of a list are read, empty ones included; no real path has as many proxies.
    public static let mostHops = 64

    private let trusted: TrustedProxies
    private let header: ClientIPHeader

    /// Makes the resolver of one process: whom to believe, and which header to read.
    public init(trusted: TrustedProxies, header: ClientIPHeader) {
        self.trusted = trusted
        self.header = header
    }

    /// Names the client of one request; linear in the size of the head.
    ///
    /// - `X-Forwarded-For`: all lines are one list, walked from the right past trusted hops. The first that is not
    ///   trusted is the client. What is no address ends the walk, and the hop before it counts. The app gets the list
    ///   as it came with the peer appended. `X-Forwarded-Proto` and `-Host` with several elements are read at the
    ///   position of the proxy that took the request from the client.
    /// - `Forwarded` (RFC 7239): walked likewise; scheme and host are its own `proto` and `host`. The app gets the
    ///   hops that were walked.
    /// - The others: one field with one address, else the peer counts. The app gets that address and the peer.
    ///
    /// - Parameters:
    ///   - peer: The connection's peer, or the source that a PROXY header gave; nil when it has no address.
    ///   - peerIsUnixSocket: Whether the connection came in on a Unix socket.
    ///   - connectionScheme: What was spoken on the connection itself.
    ///   - headers: The request's fields.
    public func resolve(
        peer: IPAddress?,
        peerIsUnixSocket: Bool,
        connectionScheme: ClientScheme = .http,
        headers: HTTPHeaders
    ) -> ResolvedClient {
        let start: HopWalk.Hop = peerIsUnixSocket ? .unixSocket : peer.map { .address($0) } ?? .unknown
        guard trusted.trusts(peer: peer, isUnixSocket: peerIsUnixSocket) else {
            return ResolvedClient(
                address: start.text,
                ip: start.address,
                scheme: connectionScheme,
                forwardedHost: nil,
                forwardedForChain: start.text,
                peerIsTrusted: false,
                namedIn: nil,
                untrustedForwardingHeaderSeen: Self.namesClient(headers)
            )
        }
        var walk = HopWalk(from: start, past: trusted)
        let chain: String
        switch header {
        case .xForwardedFor:
            let lines = headers.values(of: "x-forwarded-for").filter { !$0.isEmpty }
            walk.walk(lines, quotes: false) { walk, bytes, element in
                walk.take(ForwardedNode.read(bytes, element))
            }
            walk.readForwardedFields(headers)
            chain = lines.isEmpty ? start.text : "\(lines.joined(separator: ", ")), \(start.text)"
        case .forwarded:
            walk.walk(headers.values(of: "forwarded"), quotes: true) { walk, bytes, element in
                walk.take(ForwardedElement(bytes, element))
            }
            chain = walk.chain
        case .cfConnectingIP, .xRealIP, .trueClientIP:
            walk.takeOnly(headers.values(of: header.fieldName))
            walk.readForwardedFields(headers)
            chain = walk.chain
        }
        return ResolvedClient(
            address: walk.client.text,
            ip: walk.client.address,
            scheme: walk.scheme ?? connectionScheme,
            forwardedHost: walk.host,
            forwardedForChain: chain,
            peerIsTrusted: true,
            namedIn: header.isSingle && headers.contains(header.fieldName) ? header : nil,
            untrustedForwardingHeaderSeen: false
        )
    }

    private static func namesClient(_ headers: HTTPHeaders) -> Bool {
        var found = false
        headers.forEach { name, _ in
            if !found, HeaderRules.isForwarding(name) { found = true }
        }
        return found
    }
}

/// The way from the peer back to the client, one trusted hop after the other.
private struct HopWalk {
    enum Hop: Equatable {
        case address(IPAddress)
        case unixSocket
        case unknown

        var address: IPAddress? {
            if case .address(let address) = self { return address }
            return nil
        }

        var text: String {
            switch self {
            case .address(let address): address.description
            case .unixSocket: "unix:"
            case .unknown: "unknown"
            }
        }
    }

    private let trusted: TrustedProxies
    /// The peer first, the client last.
    private var hops: [Hop]
    private var isOver = false
    private(set) var scheme: ClientScheme?
    private(set) var host: String?
    /// How many trusted proxies the request went through, the peer included.
    private var proxies = 1

    init(from peer: Hop, past trusted: TrustedProxies) {
        self.trusted = trusted
        hops = [peer]
    }

    /// The last good hop.
    var client: Hop { hops.last ?? .unknown }

    /// The hops from the client to the peer as a list.
    var chain: String { hops.reversed().map(\.text).joined(separator: ", ") }

    /// Takes the elements of all lines from the right until the walk is over.
    mutating func walk(
        _ lines: [String],
        quotes: Bool,
        _ take: (inout HopWalk, Span<UInt8>, Range<Int>) -> Void
    ) {
        var looked = 0
        for line in lines.reversed() {
            var line = line
            line.withUTF8 { utf8 in
                let bytes = utf8.span
                var elements = ElementsFromRight(0..<bytes.count, quotes: quotes)
                while !isOver, looked < ClientAddressResolver.mostHops, let element = elements.next(in: bytes) {
                    looked += 1
                    // An empty element is none (RFC 9110 §5.6.1.2).
                    if !element.isEmpty { take(&self, bytes, element) }
                }
            }
            if isOver { return }
        }
    }

    mutating func take(_ node: ForwardedNode) {
        switch node {
        case .address(let address):
            hops.append(.address(address))
            isOver = !trusted.contains(address)
        case .unixSocket:
            // It has no address, so the walk either goes on past it or ends before it.
            isOver = !trusted.trustsUnixSockets
        case .unidentified:
            isOver = true
        }
        if !isOver { proxies += 1 }
    }

    /// A trusted hop wrote the element, so its scheme and host count even when it names no sender.
    mutating func take(_ element: ForwardedElement?) {
        guard let element else {
            isOver = true
            return
        }
        scheme = element.scheme ?? scheme
        host = element.host ?? host
        take(element.node)
    }

    /// Takes the address of a header that holds one and comes once.
    mutating func takeOnly(_ values: [String]) {
        guard values.count == 1, var value = values.first else { return }
        let node = value.withUTF8 { ForwardedNode.read($0.span, 0..<$0.count) }
        if case .address(let address) = node { hops.append(.address(address)) }
    }

    /// Reads `X-Forwarded-Proto` and `X-Forwarded-Host`.
    mutating func readForwardedFields(_ headers: HTTPHeaders) {
        scheme = element(of: headers.values(of: "x-forwarded-proto")) { ClientScheme($0, $1) }
        host = element(of: headers.values(of: "x-forwarded-host")) { HTTPHost.isValid($0, $1) ? $0.text($1) : nil }
    }

    /// The element that the outermost trusted proxy wrote, or the leftmost if not every proxy wrote one.
    ///
    /// Most proxies replace the field, some append to it: whatever is further left may be the client's invention.
    private func element<Value>(of lines: [String], _ read: (Span<UInt8>, Range<Int>) -> Value?) -> Value? {
        var value: Value?
        var left = proxies
        for line in lines.reversed() {
            var line = line
            line.withUTF8 { utf8 in
                let bytes = utf8.span
                var elements = ElementsFromRight(0..<bytes.count, quotes: false)
                while left > 0, let element = elements.next(in: bytes) {
                    if element.isEmpty { continue }
                    left -= 1
                    value = read(bytes, element)
                }
            }
        }
        return value
    }
}
