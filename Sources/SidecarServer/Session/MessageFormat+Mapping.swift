import SidecarCore
import WebSocketProtocol

/// Conversion to the formats of frames and of the outbox, neither of which depends on sessions.
extension MessageFormat {
    init(_ kind: MessageKind) {
        self.init(isText: kind == .text)
    }

    init(isText: Bool) {
        self = isText ? .text : .binary
    }

    var isText: Bool { self == .text }

    /// The opcode of a message's first frame.
    var opcode: FrameOpcode { isText ? .text : .binary }
}
