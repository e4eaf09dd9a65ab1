public import HTTP1
public import NIOCore

/// Looks for a client's token where `JWT_SOURCES` says.
public struct TokenFinder: Sendable {
    /// What was found.
    public enum Found: Sendable, Equatable {
        /// No source has one.
        case nothing
        /// The token of the first source that has one.
        case token(String)
        /// A source has two tokens, or one that cannot be read, so it is not clear which one counts.
        case ambiguous
    }

    private let sources: [TokenSource]

    /// A finder for these sources, in this order.
    public init(_ sources: [TokenSource]) {
        self.sources = sources
    }

    /// True when a token may come as a message.
    public var takesMessages: Bool { sources.contains(.message) }

    /// The token of a handshake.
    public func find(in head: HTTPRequestHead) -> Found {
        for source in sources {
            let candidates: [String?]
            switch source {
            case .message: continue
            case .subprotocol: candidates = Self.subprotocols(head.headers)
            case .authorization: candidates = Self.bearers(head.headers)
            case .cookie(let name): candidates = Self.cookies(head.headers, name)
            case .query(let name): candidates = Self.parameters(head.target, name)
            }
            if candidates.isEmpty { continue }
            guard candidates.count == 1, let token = candidates[0] else { return .ambiguous }
            return .token(token)
        }
        return .nothing
    }

    /// The token of a message that renews one: text that begins with ``TokenSource/bearerPrefix``.
    public static func renewal(_ format: MessageFormat, _ payload: ByteBuffer) -> String? {
        guard format == .text, payload.readableBytesView.starts(with: TokenSource.bearerPrefix.utf8) else { return nil }
        return String(buffer: payload.dropFirst(TokenSource.bearerPrefix.utf8.count))
    }

    /// The token of the first message: bare, or as in a renewal.
    public static func first(_ format: MessageFormat, _ payload: ByteBuffer) -> String? {
        renewal(format, payload) ?? (format == .text ? String(buffer: payload) : nil)
    }

    private static func subprotocols(_ headers: HTTPHeaders) -> [String?] {
        headers.values(of: "sec-websocket-protocol").flatMap { $0.split(separator: ",") }.map(trimmed)
            .filter { $0.hasPrefix(TokenSource.bearerPrefix) }
            .map { String($0.dropFirst(TokenSource.bearerPrefix.utf8.count)) }
    }

    /// The scheme is compared without case (RFC 9110 §11.1); other schemes are left to the app.
    private static func bearers(_ headers: HTTPHeaders) -> [String?] {
        headers.values(of: "authorization").compactMap { value in
            let parts = value.split(separator: " ", maxSplits: 1)
            guard parts.first?.lowercased() == "bearer" else { return nil }
            return parts.count == 2 ? String(trimmed(parts[1])) : ""
        }
    }

    private static func cookies(_ headers: HTTPHeaders, _ name: String) -> [String?] {
        headers.values(of: "cookie").flatMap { $0.split(separator: ";") }.compactMap { pair in
            let pair = trimmed(pair)
            guard let equals = pair.firstIndex(of: "="), pair[..<equals] == name else { return nil }
            return String(pair[pair.index(after: equals)...])
        }
    }

    private static func parameters(_ target: String, _ name: String) -> [String?] {
        guard let mark = target.utf8.firstIndex(of: UInt8(ascii: "?")) else { return [] }
        return target[mark...].dropFirst().split(separator: "&").compactMap { pair in
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard PercentEncoding.decoded(parts[0].utf8) == name else { return nil }
            return parts.count == 2 ? PercentEncoding.decoded(parts[1].utf8) : ""
        }
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text.drop { $0 == " " || $0 == "\t" }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return text
    }
}

extension ByteBuffer {
    fileprivate func dropFirst(_ count: Int) -> ByteBuffer {
        getSlice(at: readerIndex + count, length: max(readableBytes - count, 0)) ?? ByteBuffer()
    }
}
