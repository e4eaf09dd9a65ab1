import NIOCore
import SidecarCore

/// The channels of a client of the protocol whose messages wait: the client has to know first where they begin, and to get
/// what it has missed before anything new.
///
/// ```
///                 answered             passed on
/// asking ──────────────────▶ known ─────────────▶ (live: not in here)
///    ▲  │ engine away
///    │  └──────▶ pending
///    └──────────────┘ resumed
/// ```
struct ChannelFeeds {
    /// The most that waits in one channel, in bytes; beyond it there is a gap.
    static let mostHeldBytes = 256 << 10

    /// How a channel begins on this connection.
    struct Beginning {
        /// The position that the client is told.
        let position: ChannelPosition
        /// Whether a returning client gets all that it has missed; nil for a client that begins here.
        var isRecovered: Bool?
        /// What it has missed.
        var replay: [StoredMessage] = []
        /// Live messages follow this position.
        let upTo: ChannelPosition
    }

    /// What waits in a channel until it may be passed on.
    struct Held {
        private(set) var deliveries: [ChannelDelivery] = []
        private var bytes = 0
        /// The last one of those that had no room; they are missing before the deliveries.
        private(set) var lost: ChannelDelivery?

        mutating func append(_ delivery: ChannelDelivery) {
            deliveries.append(delivery)
            bytes += delivery.message.payload.readableBytes + SendQueue.messageOverhead
            if bytes > ChannelFeeds.mostHeldBytes { self = Held(lost: delivery) }
        }

        /// Only what lies behind a position.
        func behind(_ position: ChannelPosition) -> Held {
            var held = Held(lost: lost.flatMap { $0.position.follows(position) ? $0 : nil })
            held.deliveries = deliveries.filter { $0.position.follows(position) }
            return held
        }

        init() {}
        private init(lost: ChannelDelivery?) { self.lost = lost }
    }

    /// A question to the broker: where a channel is, and what follows the position that a returning client has.
    struct Question: Equatable {
        let number: UInt32
        let channel: ChannelName
        var known: ChannelPosition?
    }

    private enum State {
        case asking(Question, Held)
        case known(Beginning, Held)
        /// The engine is away: the channel begins when it is back.
        case pending(known: ChannelPosition?)
    }

    private var states: [ChannelName: State] = [:]
    private var lastNumber: UInt32 = 0
    private var openQuestions = 0

    /// True when nothing waits.
    var isEmpty: Bool { states.isEmpty }
    /// True while the broker has yet to answer for a channel.
    var isAsking: Bool { openQuestions > 0 }

    // MARK: Membership

    /// The client is in a channel from now on.
    ///
    /// - Parameter known: The position that a returning client has.
    mutating func joined(_ channel: ChannelName, after known: ChannelPosition? = nil) -> Question {
        lastNumber &+= 1
        let question = Question(number: lastNumber, channel: channel, known: known)
        set(channel, .asking(question, Held()))
        return question
    }

    /// The client has left a channel.
    mutating func left(_ channel: ChannelName) { set(channel, nil) }

    private mutating func set(_ channel: ChannelName, _ state: State?) {
        if case .asking? = state { openQuestions += 1 }
        let old =
            if let state { states.updateValue(state, forKey: channel) } else { states.removeValue(forKey: channel) }
        if case .asking? = old { openQuestions -= 1 }
    }

    // MARK: Publications

    /// Something was published.
    ///
    /// - Returns: False when the client can get it now.
    mutating func hold(_ delivery: ChannelDelivery) -> Bool {
        let channel = delivery.channel
        switch states[channel] {
        case nil: return false
        case .pending: break
        case .asking(let question, var held):
            states[channel] = .pending(known: nil)  // so that nothing is copied
            held.append(delivery)
            states[channel] = .asking(question, held)
        case .known(let beginning, var held):
            states[channel] = .pending(known: nil)
            held.append(delivery)
            states[channel] = .known(beginning, held)
        }
        return true
    }

    // MARK: Positions

    /// The broker has answered.
    ///
    /// - Parameter replay: Nil when the engine is away.
    /// - Returns: How the channel begins, if that is known now; ``passOn(_:)`` has to follow.
    mutating func answered(_ question: Question, _ replay: ChannelReplay?) -> Beginning? {
        guard case .asking(question, let held)? = states[question.channel] else { return nil }
        guard let replay else {
            set(question.channel, .pending(known: question.known))
            return nil
        }
        let beginning: Beginning
        if let known = question.known, replay.isComplete {
            beginning = Beginning(position: known, isRecovered: true, replay: replay.messages, upTo: replay.upTo)
        } else {
            let isRecovered = question.known == nil ? nil : false
            beginning = Beginning(position: replay.upTo, isRecovered: isRecovered, upTo: replay.upTo)
        }
        set(question.channel, .known(beginning, held.behind(replay.upTo)))
        return beginning
    }

    /// What a channel does that is received again.
    enum Resumption {
        /// It begins here, and has been waiting for it.
        case begins(Beginning)
        /// The broker has to be asked.
        case ask(Question)
        /// Messages are missing.
        case gap
    }

    /// Messages of a channel are received again, from a position on; when some are lost, what waits is too.
    mutating func resumed(_ channel: ChannelName, isComplete: Bool, at position: ChannelPosition) -> Resumption? {
        switch states[channel] {
        case nil: return isComplete ? nil : .gap
        case .pending(let known?): return .ask(joined(channel, after: known))
        case .pending(nil):
            let beginning = Beginning(position: position, upTo: position)
            set(channel, .known(beginning, Held()))
            return .begins(beginning)
        // The answer that is on its way may be of before the loss.
        case .asking(let question, _): return isComplete ? nil : .ask(joined(channel, after: question.known))
        case .known(let beginning, _):
            guard !isComplete else { return nil }
            // What the client has missed is lost with it.
            let isRecovered = beginning.isRecovered == nil ? nil : false
            states[channel] = .known(
                Beginning(position: position, isRecovered: isRecovered, upTo: position),
                Held()
            )
            return nil
        }
    }

    /// How a channel begins, before it is passed on; nil when that is not known, or it is live.
    func beginning(of channel: ChannelName) -> Beginning? {
        if case .known(let beginning, _)? = states[channel] { beginning } else { nil }
    }

    /// The channels whose beginnings are known.
    var known: [ChannelName] {
        states.compactMap { if case .known = $0.value { $0.key } else { nil } }
    }

    /// Whether a channel is received, and nothing of it waits.
    func isLive(_ channel: ChannelName) -> Bool { states[channel] == nil }

    /// The client has been told where a channel begins, and has got what it has missed: the channel is live.
    ///
    /// - Returns: What has waited.
    mutating func passOn(_ channel: ChannelName) -> Held {
        guard case .known(_, let held)? = states[channel] else { return Held() }
        set(channel, nil)
        return held
    }
}

extension ChannelPosition {
    /// Whether it lies behind another one; that of another epoch does.
    func follows(_ other: ChannelPosition) -> Bool { epoch != other.epoch || offset > other.offset }
}
