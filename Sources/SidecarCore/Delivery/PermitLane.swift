/// What a permit for a call to the app is wanted for.
public enum PermitLane: Int, Sendable, Equatable, CaseIterable {
    /// A message of an open connection.
    case events
    /// The `open` event of a handshake.
    case handshakes
    /// The `close` event of a connection that has ended.
    case closes
}
