/// The POSTs of one client over HTTP: each is handled once and in its order, and a repeat gets the answer of before.
///
/// The answers to the last two are kept, since a client may have two under way.
public struct PostLedger<Answer> {
    /// What to do with a POST.
    public enum Arrival {
        /// It is the next one.
        case next
        /// It has come before, and is not answered yet.
        case unanswered
        /// It has come before, with this answer.
        case answered(Answer)
        /// The one before has yet to come.
        case early
        /// It is of the past, or of a future in which several are missing.
        case outOfTurn
    }

    /// The number of the last one that was handled.
    public private(set) var last: UInt64
    private var lastAnswered: UInt64 = 0
    private var answers: [(number: UInt64, answer: Answer)] = []

    /// - Parameter last: The number of the last one that was handled.
    public init(last: UInt64 = 0) {
        self.last = last
    }

    /// The answers that are kept.
    public var kept: [Answer] { answers.map(\.answer) }

    /// A POST has come; only ``Arrival/next`` counts it as handled.
    public mutating func arrived(_ number: UInt64) -> Arrival {
        if number <= last {
            if let known = answers.first(where: { $0.number == number }) { return .answered(known.answer) }
            // An answer that is no longer kept cannot be given again.
            return number == last && number != lastAnswered ? .unanswered : .outOfTurn
        }
        guard number - last <= 2 else { return .outOfTurn }
        guard number == last + 1 else { return .early }
        last = number
        return .next
    }

    /// A POST is answered.
    ///
    /// - Returns: The answer to the last but one, which the client has got, as it would not have sent this one.
    @discardableResult
    public mutating func answered(_ number: UInt64, _ answer: Answer) -> Answer? {
        lastAnswered = max(lastAnswered, number)
        answers.removeAll { $0.number == number }
        answers.append((number, answer))
        guard answers.count > 2 else { return nil }
        return answers.removeFirst().answer
    }

    /// Forgets the answers.
    public mutating func forget() { answers = [] }
}
