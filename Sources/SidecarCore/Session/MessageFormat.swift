/// What kind of data a message is.
public enum MessageFormat: Sendable, Equatable {
    /// UTF-8 text.
    case text
    /// UTF-8 text that its sender has declared as JSON; whether it is JSON has not been checked.
    case json
    /// Any bytes.
    case binary
    /// Bytes that their sender has declared as MessagePack; whether they are has not been checked.
    case messagePack

    /// Whether it is text where there are only text and binary messages, as in the frames of a WebSocket.
    public var isText: Bool {
        switch self {
        case .text, .json: true
        case .binary, .messagePack: false
        }
    }
}
