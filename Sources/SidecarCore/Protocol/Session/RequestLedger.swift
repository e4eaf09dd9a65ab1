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

    private enum State {
        case inProgress
        /// Its answer has this number.
        case answered(UInt64)
    }

    private struct Answered {
        let id: String
        var answer: Answer
        let time: NIODeadline
    }

    private var states: [String: State] = [:]
    /// The remembered answers, oldest first.
    private var answers: Deque<Answered> = []
    /// The number of the first of them.
    private var firstNumber: UInt64 = 0
    /// How many of those at the front have no content any more.
    private var emptied = 0
    /// What the kept answers count for, in bytes.
    public private(set) var keptBytes = 0

    /// A ledger without ids.
    public init() {}

    /// A message with an id has come.
    public mutating func received(_ id: String, at now: NIODeadline) -> Verdict {
        expire(at: now)
        switch Self.enter(&states[id]) {
        case nil: return .new
        case .inProgress: return .inProgress
        case .answered(let number):
            let index = Int(truncatingIfNeeded: number &- firstNumber)
            return answers.indices.contains(index) ? .answered(answers[index].answer) : .answered(.acknowledged)
        }
    }

    /// A message was answered.
    ///
    /// - Parameter limit: What the answers may take together, in bytes; the contents of the oldest go first.
    public mutating func answered(_ id: String, _ answer: Answer, limit: Int, at now: NIODeadline) {
        guard Self.settle(&states[id], firstNumber &+ UInt64(answers.count)) else { return }
        answers.append(Answered(id: id, answer: answer, time: now))
        keptBytes += Self.answerOverhead + answer.bytes
        expire(at: now)
        while answers.count > Self.mostIDs { removeOldest() }
        while keptBytes > limit, emptyOldest() {}
    }

    /// Drops the contents of all answers.
    public mutating func dropContents() { while emptyOldest() {} }

    /// A message could not be handled now: it is new when it comes again.
    public mutating func forget(_ id: String) {
        if case .inProgress = states[id] { states[id] = nil }
    }

    // These two change a value where it is, so that its key is looked up once.

    private static func enter(_ state: inout State?) -> State? {
        defer { if state == nil { state = .inProgress } }
        return state
    }

    private static func settle(_ state: inout State?, _ number: UInt64) -> Bool {
        guard case .inProgress = state else { return false }
        state = .answered(number)
        return true
    }

    private mutating func expire(at now: NIODeadline) {
        while let oldest = answers.first, now - oldest.time >= Self.window { removeOldest() }
    }

    private mutating func removeOldest() {
        guard let oldest = answers.popFirst() else { return }
        states[oldest.id] = nil
        firstNumber &+= 1
        emptied = max(emptied - 1, 0)
        keptBytes -= Self.answerOverhead + oldest.answer.bytes
        if answers.isEmpty {
            answers = []
            if states.isEmpty { states = [:] }
        }
    }

    /// Drops the content of the oldest answer that has one; false when none has.
    private mutating func emptyOldest() -> Bool {
        guard emptied < answers.count else { return false }
        let answer = answers[emptied].answer
        keptBytes -= answer.bytes
        answers[emptied].answer = answer.withoutContent
        emptied += 1
        return true
    }

    // MARK: Record

    private enum Tag {
        static let answer: UInt8 = 1
    }

    /// For another node; without the ids that have no answer.
    func record(at now: NIODeadline) -> [UInt8] {
        var writer = JournalWriter(capacity: 64 + keptBytes)
        for one in answers {
            let age = JournalWriter.bytes(of: UInt64(max((now - one.time).nanoseconds, 0)))
            writer.write(Tag.answer, name: one.id.utf8, value: age + one.answer.record)
        }
        return writer.record
    }

    init(record: [UInt8], at now: NIODeadline) throws(JournalFault) {
        var reader = try JournalReader(record)
        while let (name, value) = try reader.takePair(Tag.answer) {
            let age = JournalReader.number(value.prefix(8))
            guard let id = String(validating: name, as: UTF8.self), id.utf8.count <= ClientFrame.maxIDBytes,
                value.count >= 8, answers.count < Self.mostIDs, states[id] == nil
            else { throw .malformed }
            let answer = try Answer(record: Array(value.dropFirst(8)), to: id)
            states[id] = .answered(UInt64(answers.count))
            answers.append(Answered(id: id, answer: answer, time: now - .nanoseconds(Int64(clamping: age))))
            keptBytes += Self.answerOverhead + answer.bytes
        }
        while emptied < answers.count, answers[emptied].answer.bytes == 0 { emptied += 1 }
    }
}

extension RequestLedger.Answer {
    /// The first byte of a record.
    private enum Kind {
        static let message: UInt8 = 1
        static let acknowledged: UInt8 = 2
        static let error: UInt8 = 3
    }

    fileprivate var record: [UInt8] {
        switch self {
        case .message(let frame): [Kind.message] + frame.readableBytesView
        case .acknowledged: [Kind.acknowledged]
        case .error(let error): [Kind.error] + error.record
        }
    }

    fileprivate init(record: [UInt8], to id: String) throws(JournalFault) {
        switch record.first {
        case Kind.message: self = .message(ByteBuffer(bytes: record.dropFirst()))
        case Kind.acknowledged: self = .acknowledged
        case Kind.error: self = .error(try ProtocolError(record: Array(record.dropFirst()), about: id))
        default: throw .malformed
        }
    }
}
