/// What is done with a connection above its rate of messages or bytes.
public enum RateLimitAction: String, Sendable, Equatable, CaseIterable {
    /// It is read from again when it has tokens; nothing is lost.
    case throttle
    /// It is closed with 4429.
    case close
}
