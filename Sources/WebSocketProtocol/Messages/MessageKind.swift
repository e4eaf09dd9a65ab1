/// Whether a message carries UTF-8 text or bytes.
public enum MessageKind: Sendable {
    /// Valid UTF-8, checked as it arrived.
    case text
    /// Bytes of any meaning.
    case binary
}
