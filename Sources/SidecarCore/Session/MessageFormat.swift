/// Whether a message is text (valid UTF-8) or binary.
public enum MessageFormat: Sendable, Equatable {
    /// UTF-8 text.
    case text
    /// Any bytes.
    case binary
}
