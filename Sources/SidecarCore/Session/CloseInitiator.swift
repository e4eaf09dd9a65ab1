/// Who ended a connection.
public enum CloseInitiator: String, Sendable, Equatable {
    /// The client sent a Close frame.
    case client
    /// We closed: the app asked, a limit, a failure or a drain.
    case server
    /// The connection broke without a Close frame.
    case network
}
