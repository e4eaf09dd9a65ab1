/// Why a connection could not be made or is lost.
struct ConnectionFault: Sendable, Equatable {
    /// What an operator can do about it.
    enum Kind: Sendable, Equatable {
        /// The network, or a server that is away: it may pass by itself.
        case network
        /// The server does not suit or refuses us: somebody has to change a setting.
        case refusal
        /// The server is not the master.
        case role
        /// We closed it.
        case closed
    }

    let kind: Kind
    /// One plain sentence.
    let sentence: String

    static func network(_ sentence: String) -> ConnectionFault { ConnectionFault(kind: .network, sentence: sentence) }
    static func refusal(_ sentence: String) -> ConnectionFault { ConnectionFault(kind: .refusal, sentence: sentence) }
    static func role(_ sentence: String) -> ConnectionFault { ConnectionFault(kind: .role, sentence: sentence) }
    static let closed = ConnectionFault(kind: .closed, sentence: "The client was closed.")
}
