import SidecarCore
import WebSocketProtocol

/// Conversion to the formats of frames and of the outbox, neither of which depends on sessions.
extension MessageFormat {
    init(_ kind: MessageKind) {
        self = kind == .text ? .text : .binary
    }

    /// The opcode of a message's first frame.
    var opcode: FrameOpcode { isText ? .text : .binary }

    /// The number that stands for it in the outbox.
    var outboxNumber: UInt8 {
        switch self {
        case .binary: 0
        case .text: 1
        case .json: 2
        case .messagePack: 3
        }
    }

    /// The format of a message in the outbox; nil for a number that stands for none.
    init?(outboxNumber number: UInt8) {
        switch number {
        case 0: self = .binary
        case 1: self = .text
        case 2: self = .json
        case 3: self = .messagePack
        default: return nil
        }
    }
}
