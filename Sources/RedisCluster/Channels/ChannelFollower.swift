import NIOCore
import SidecarCore

/// Keeps one subscribed channel of this node complete: it compares each message with the one before it, and says when to
/// ask the engine what is missing.
///
/// What the engine answers covers everything that was received before the answer, since both come over one connection.
struct ChannelFollower {
    /// The most messages, and their bytes, that are held back during a question.
    static let mostHeld = 1_000
    static let mostHeldBytes = 4 << 20

    /// What to do.
    enum Action: Equatable {
        case nothing
        /// Ask what follows the point.
        case ask(after: ChannelPoint?)
        /// Pass on the message.
        case deliver(MessageFrame)
    }

    /// What an answer leads to, in this order.
    struct Outcome: Equatable {
        /// Tell the subscribers that messages are lost.
        var lost: GapCause?
        /// Pass on these messages.
        var messages: [MessageFrame] = []
        /// Ask what follows, since there was too much for one answer.
        var asksAgain: ChannelPoint?
        /// Tell the subscribers that messages are received again.
        var hasResumed = false
    }

    fileprivate struct Question {
        var known: ChannelPoint?
        /// Why messages may be missing, and be counted if they are; nil for a new subscription, which misses nothing.
        var cause: GapCause?
        /// Whether it was interrupted before.
        var wasInterrupted: Bool
        var held: [MessageFrame] = []
        var heldBytes = 0
    }

    private enum State {
        /// Not subscribed at the engine.
        case waiting(known: ChannelPoint?, cause: GapCause?, wasInterrupted: Bool)
        /// Asked where the channel is.
        case asking(Question)
        case live(ChannelPoint)
    }

    private var state: State

    /// A new subscription.
    ///
    /// - Parameter isDelayed: The engine is away, so that what is published before it returns may be missing.
    init(isDelayed: Bool) {
        state = .waiting(known: nil, cause: isDelayed ? .engineAway : nil, wasInterrupted: isDelayed)
    }

    /// Where the channel is while it is received completely; nil otherwise.
    var point: ChannelPoint? {
        if case .live(let point) = state { point } else { nil }
    }

    /// Why a question is under way; nil without one, and for that of a new subscription.
    var cause: GapCause? {
        if case .asking(let question) = state { question.cause } else { nil }
    }

    // MARK: Events

    /// The engine has confirmed the subscription.
    mutating func subscribed() -> Action {
        switch state {
        case .waiting(let known, let cause, let wasInterrupted):
            state = .asking(Question(known: known, cause: cause, wasInterrupted: wasInterrupted))
            return .ask(after: known)
        // Confirmed once more without an interruption. What is known holds, but is compared.
        case .asking(let question): return .ask(after: question.known)
        case .live: return suspect()
        }
    }

    /// The engine no longer sends messages of the channel.
    ///
    /// - Returns: Whether it did before.
    mutating func interrupted() -> Bool {
        switch state {
        case .waiting: return false
        case .asking(let question):
            state = .waiting(known: question.known, cause: question.cause ?? .connectionLost, wasInterrupted: true)
            return true
        case .live(let point):
            state = .waiting(known: point, cause: .connectionLost, wasInterrupted: true)
            return true
        }
    }

    /// The engine may have lost messages.
    mutating func suspect() -> Action {
        guard case .live(let point) = state else { return .nothing }
        return ask(after: point, .engineLostMessages, false)
    }

    /// A message has come.
    mutating func received(_ frame: MessageFrame) -> Action {
        switch state {
        case .waiting: return .nothing
        case .asking(var question):
            state = .waiting(known: nil, cause: nil, wasInterrupted: false)  // so that nothing is copied
            question.hold(frame)
            state = .asking(question)
            return .nothing
        case .live(let point):
            if frame.follows(point) {
                state = .live(frame.point)
                return .deliver(frame)
            }
            let cause: GapCause = frame.point.epoch == point.epoch ? .messageMissing : .engineLostMessages
            var question = Question(known: point, cause: cause, wasInterrupted: false)
            question.hold(frame)
            state = .asking(question)
            return .ask(after: point)
        }
    }

    private mutating func ask(after point: ChannelPoint?, _ cause: GapCause, _ wasInterrupted: Bool) -> Action {
        state = .asking(Question(known: point, cause: cause, wasInterrupted: wasInterrupted))
        return .ask(after: point)
    }

    /// The engine has answered the last question.
    mutating func answered(_ answer: FollowAnswer) -> Outcome {
        guard case .asking(let question) = state else { return Outcome() }
        switch answer.continuity {
        case .none:
            state = .live(answer.head)
            return Outcome(
                lost: question.cause,
                messages: question.held.filter { $0.point.epoch == answer.head.epoch },
                hasResumed: question.wasInterrupted
            )
        case .gap:
            state = .live(answer.head)
            // A new epoch begins when the engine has lost what was there, also while the connection was down.
            let isNewEpoch = question.known.map { $0.epoch != answer.head.epoch } ?? false
            return Outcome(
                lost: isNewEpoch ? .engineLostMessages : question.cause ?? .messageMissing,
                messages: question.held.filter { $0.point.epoch == answer.head.epoch },
                hasResumed: question.wasInterrupted
            )
        case .all:
            state = .live(answer.head)
            return Outcome(messages: answer.messages, hasResumed: question.wasInterrupted)
        case .part:
            guard let last = answer.messages.last?.point else { return Outcome() }
            var rest = question
            rest.known = last
            state = .asking(rest)
            return Outcome(messages: answer.messages, asksAgain: last)
        }
    }

    /// The question has failed; it is asked again later.
    ///
    /// - Returns: The question; nil when it is no longer open.
    func question() -> Action {
        guard case .asking(let question) = state else { return .nothing }
        return .ask(after: question.known)
    }
}

extension ChannelFollower.Question {
    /// Holds a message back. What has no room is told as lost, or comes with the answer.
    mutating func hold(_ frame: MessageFrame) {
        let bytes = frame.body.payload.readableBytes
        guard held.count < ChannelFollower.mostHeld, heldBytes + bytes <= ChannelFollower.mostHeldBytes else {
            held = []
            heldBytes = 0
            cause = cause ?? .tooManyHeld
            return hold(frame)
        }
        held.append(frame)
        heldBytes += bytes
    }
}
