import NIOCore
import SidecarCore

/// What happens to a session, for scripts that read as `event: action`.
enum SessionInput {
    case begin
    case accepted(atMillisecond: Int64)
    case refused
    case text(String)
    case binary(Int)
    case sent
    case revalidate
    case lost
    case returned
    case answered
    case ended(UInt16, String, CloseInitiator, atMillisecond: Int64)
    case discard
}

extension SessionStateMachine {
    /// Does one thing, and says what the machine wants then.
    mutating func perform(_ input: SessionInput) -> String {
        switch input {
        case .begin: return begin().words
        case .accepted(let millisecond): return accepted(at: .at(millisecond)).words
        case .refused:
            refused()
            return "-"
        case .text(let text): return received(.text, ByteBuffer(string: text)).words
        case .binary(let count): return received(.binary, ByteBuffer(repeating: 0, count: count)).words
        case .sent:
            sent()
            return "-"
        case .revalidate: return revalidate().words
        case .lost: return tell(.detached).words
        case .returned: return tell(.resumed).words
        case .answered: return answered().words
        case .ended(let code, let reason, let initiator, let millisecond):
            return ended(
                code: SessionCloseCode(rawValue: code),
                reason: reason,
                initiator: initiator,
                at: .at(millisecond)
            ).words
        case .discard: return "dropped \(discardQueue())"
        }
    }
}

extension NIODeadline {
    /// A moment of a clock that only the test moves.
    static func at(_ millisecond: Int64) -> NIODeadline { .uptimeNanoseconds(0) + .milliseconds(millisecond) }
}

extension SessionStateMachine.Step {
    var words: String {
        switch self {
        case .wait: "wait"
        case .finish: "finish"
        case .deliver(let delivery): "\(delivery.sequence) \(delivery.event.words)"
        }
    }
}

extension SessionEvent {
    fileprivate var words: String {
        switch self {
        case .open: "open"
        case .revalidate: "revalidate"
        case .detached: "detached"
        case .resumed: "resumed"
        case .message(.binary, let payload, _): "binary \(payload.readableBytes)"
        case .message(let format, let payload, let label):
            "\(label.map { "\($0.type) \($0.id ?? "-") " } ?? "")\(format) \(String(buffer: payload))"
        case .batch(let messages):
            messages.map { SessionEvent.message($0.format, $0.payload, $0.label).words }.joined(separator: ", ")
        case .close(let report):
            "close \(report.code) [\(report.reason)] \(report.initiator) in \(report.messagesIn) "
                + "out \(report.messagesOut) ms \(report.durationMilliseconds)"
        }
    }
}
