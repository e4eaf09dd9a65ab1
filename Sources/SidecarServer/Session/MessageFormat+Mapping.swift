import SidecarCore
import WebSocketProtocol

/// Text or binary as frames and the outbox have it, neither of which knows sessions.
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
