import Crypto
import HTTP1
import NIOCore
import SidecarCore

/// The client for browsers (`CLIENT_SCRIPT`), as it is in the binary.
struct ClientScript: Sendable {
    /// The version that its first line states.
    let version: String
    private let plain = ByteBuffer(bytes: PackageResources.sidesocket_min_js)
    private let compressed = ByteBuffer(bytes: PackageResources.sidesocket_min_js_gz)
    private let tag: String

    init() {
        // It begins with "/*! Sidesocket's client for browsers and Node, version 0.1.0 */".
        let start = String(decoding: PackageResources.sidesocket_min_js.prefix(200), as: UTF8.self)
        let named = start.firstRange(of: "version ").map { start[$0.upperBound...].prefix { $0 != " " } }
        version = named.map(String.init) ?? "unknown"
        tag = SHA256.hash(data: PackageResources.sidesocket_min_js).prefix(8).map { Self.hex($0) }.joined()
    }

    private static func hex(_ byte: UInt8) -> String { (byte < 16 ? "0" : "") + String(byte, radix: 16) }

    /// The response to a request for it.
    func response(to head: HTTPRequestHead) -> (head: ClientResponseHead, body: ByteBuffer) {
        let isCompressed = head.headers.hasToken("gzip", in: "accept-encoding")
        // A tag names one form (RFC 9110 §8.8.3.3).
        let tag = "\"\(self.tag)\(isCompressed ? "-gzip" : "")\""
        var fields = [
            ("Content-Type", "text/javascript; charset=utf-8"), ("ETag", tag), ("Cache-Control", "no-cache"),
            ("Vary", "Accept-Encoding"), ("Sidesocket-Client-Version", version),
            ("X-Content-Type-Options", "nosniff"),
            // A module of another origin is loaded with CORS; there is nothing private in it.
            ("Access-Control-Allow-Origin", "*"),
        ]
        let known = head.headers.values(of: "if-none-match").joined(separator: ",")
        if known.contains(tag) || known == "*" {
            return (.ours(status: 304, "Not Modified", fields, byteCount: nil), ByteBuffer())
        }
        if isCompressed { fields.append(("Content-Encoding", "gzip")) }
        let body = isCompressed ? compressed : plain
        return (.ours(status: 200, "OK", fields, byteCount: body.readableBytes), body)
    }
}
