import DequeModule
public import NIOCore

/// The ids of a client's messages that want an answer: a message that comes again, since the client has not got the
/// answer, is answered again and not handled again.
///
/// The last ``mostIDs`` ids are remembered for ``window``, those at work always. Answers are kept within a number of
/// bytes; of those beyond it, only the fact is.
public struct RequestLedger: Sendable {
    /// How many ids are remembered.
    public static let mostIDs = 1024
    /// How long they are remembered after their answer.
    public static let window = TimeAmount.minutes(5)
    /// What an answer counts for beyond its payload, in bytes.
    static let answerOverhead = 256

    /// What was answered.
    public enum Answer: Sendable {
        /// A message of the app, as the frame that was sent.
        case message(ByteBuffer)
        /// Nothing more than that the app has handled it; also when what it said is no longer kept.
        case acknowledged
        /// An error that is final.
        case error(ProtocolError)

        var bytes: Int {
            switch self {
            case .message(let frame): frame.readableBytes
            case .acknowledged: 0
            case .error(let error): error.content?.payload.readableBytes ?? 0
            }
        }

        var withoutContent: Answer {
            switch self {
            case .message, .acknowledged: .acknowledged
            case .error(let error): .error(error.withoutContent())
            }
        }
    }

    /// What is to be done with a message.
    public enum Verdict: Sendable {
        /// Handle it.
        case new
        /// It is being handled.
        case inProgress
        /// It was answered so.
        case answered(Answer)
    }

    private enum Entry {
        case inProgress
        case answered(Answer, at: NIODeadline)
    }

    private var entries: [String: Entry] = [:]
    /// The answered ids, oldest answer first.
    private var answered: Deque<String> = []
    /// How many of those at the front have no content any more.
    private var emptied = 0
    /// What the kept answers count for, in bytes.
    public private(set) var keptBytes = 0

    /// A ledger without ids.
    public init() {}

    /// A message with an id has come.
    public mutating func received(_ id: String, at now: NIODeadline) -> Verdict {
        expire(at: now)
        switch entries[id] {
        case nil:
            entries[id] = .inProgress
            return .new
        case .inProgress: return .inProgress
        case .answered(let answer, _): return .answered(answer)
        }
    }

    /// A message was answered.
    ///
    /// - Parameter limit: What the answers may take together, in bytes; the contents of the oldest go first.
    public mutating func answered(_ id: String, _ answer: Answer, limit: Int, at now: NIODeadline) {
        guard case .inProgress = entries[id] else { return }
        entries[id] = .answered(answer, at: now)
        answered.append(id)
        keptBytes += Self.answerOverhead + answer.bytes
        expire(at: now)
        while answered.count > Self.mostIDs { removeOldest() }
        while keptBytes > limit, emptyOldest() {}
    }

    /// Drops the contents of all answers.
    public mutating func dropContents() { while emptyOldest() {} }

    /// A message could not be handled now: it is new when it comes again.
    public mutating func forget(_ id: String) {
        if case .inProgress = entries[id] { entries[id] = nil }
    }

    private mutating func expire(at now: NIODeadline) {
        while let id = answered.first, case .answered(_, let time) = entries[id], now - time >= Self.window {
            removeOldest()
        }
    }

    private mutating func removeOldest() {
        guard let id = answered.popFirst(), case .answered(let answer, _) = entries.removeValue(forKey: id) else {
            return
        }
        emptied = max(emptied - 1, 0)
        keptBytes -= Self.answerOverhead + answer.bytes
        if answered.isEmpty {
            answered = []
            if entries.isEmpty { entries = [:] }
        }
    }

    /// Drops the content of the oldest answer that has one; false when none has.
    private mutating func emptyOldest() -> Bool {
        guard emptied < answered.count else { return false }
        let id = answered[emptied]
        emptied += 1
        guard case .answered(let answer, let time) = entries[id] else { return true }
        keptBytes -= answer.bytes
        entries[id] = .answered(answer.withoutContent, at: time)
        return true
    }
}
