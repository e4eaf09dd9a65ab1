/// The two encodings of the client protocol; each is a subprotocol of its own (RFC 6455 §1.9).
public enum ProtocolEncoding: String, Sendable, CaseIterable {
    /// One JSON object in each text message.
    case json
    /// The same as MessagePack, one map in each binary message.
    case messagePack = "msgpack"

    /// The name that a client offers.
    public var subprotocol: String { "\(Self.prefix)\(rawValue)" }
    /// The messages that its frames are.
    public var format: MessageFormat {
        switch self {
        case .json: .text
        case .messagePack: .binary
        }
    }

    private static let prefix = "sidesocket.v1."

    fileprivate init?(subprotocol: String) {
        guard subprotocol.hasPrefix(Self.prefix) else { return nil }
        self.init(rawValue: String(subprotocol.dropFirst(Self.prefix.count)))
    }
}

/// What a client says of the protocol in its handshake, in `Sec-WebSocket-Protocol`.
public struct ProtocolOffer: Sendable, Equatable {
    /// The encoding that it names first.
    public let encoding: ProtocolEncoding
    /// What a returning client offers beside it; nil for a new one.
    public let resume: Resume?

    /// What a returning client offers.
    public enum Resume: Sendable, Equatable {
        /// A session, and positions.
        case session(ResumeToken)
        /// Positions alone; also when its token cannot be one.
        case positions
    }

    /// What a client says over HTTP, in the only encoding that there is.
    public init(_ resume: Resume?) {
        encoding = .json
        self.resume = resume
    }

    /// What stands before a token.
    private static let resumePrefix = "sidesocket.resume."

    /// Reads the offered names; nil when none of them is an encoding of the protocol.
    public init?(_ offered: [String]) {
        guard let encoding = offered.lazy.compactMap({ ProtocolEncoding(subprotocol: $0) }).first else { return nil }
        self.encoding = encoding
        let resume = offered.first { $0.hasPrefix(Self.resumePrefix) }
        self.resume = resume.map {
            ResumeToken(String($0.dropFirst(Self.resumePrefix.count))).map { .session($0) } ?? .positions
        }
    }

    /// Whether a name is between the client and Sidesocket, and not for the app to see or to choose: an encoding of any
    /// version, or what carries a token.
    public static func isReserved(_ name: some StringProtocol) -> Bool { name.hasPrefix("sidesocket.") }
}
