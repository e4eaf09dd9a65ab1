/// The result of asking for a call to the app.
public enum CallAnswer: Sendable, Equatable {
    /// Call this address.
    case granted(address: Int)
    /// The ticket waits.
    case queued
    /// Too many handshakes wait already.
    case full
    /// No address can be called now; only handshakes are told this, since their clients can come again.
    case unavailable
}
