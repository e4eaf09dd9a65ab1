import SidecarCore
import WebSocketProtocol

/// Conversion to the formats of frames and of the outbox, neither of which depends on sessions.
extension MessageFormat {
    init(_ kind: MessageKind) {
        self = kind == .text ? .text : .binary
    }

    /// The opcode of a message's first frame.
    var opcode: FrameOpcode { isText ? .text : .binary }
}
