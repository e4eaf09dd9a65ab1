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

    /// The number that stands for it in the outbox, and in records for other nodes.
    package var recordNumber: UInt8 {
        switch self {
        case .binary: 0
        case .text: 1
        case .json: 2
        case .messagePack: 3
        }
    }

    /// The format with a number; nil for a number that stands for none.
    package init?(recordNumber number: UInt8) {
        switch number {
        case 0: self = .binary
        case 1: self = .text
        case 2: self = .json
        case 3: self = .messagePack
        default: return nil
        }
    }
}
