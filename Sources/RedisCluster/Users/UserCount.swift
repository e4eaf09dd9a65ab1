import DequeModule

/// The connections of one user on this node, and what the engine knows of them.
///
/// One command is under way at a time, since each tells the whole number.
struct UserCount {
    /// Who asks for one more connection.
    struct Waiter {
        let limit: Int
        let completion: @Sendable (Bool) -> Void
    }

    /// What the engine is to be told.
    struct Request: Equatable {
        /// How many connections there are.
        let own: Int
        /// How many there are to be.
        let wanted: Int
        /// How many there may be on all nodes.
        let limit: Int
    }

    /// A waiter and its answer.
    typealias Outcome = (waiter: Waiter, isGranted: Bool)

    /// How many connections one command asks for at most.
    private static let mostAtOnce = 1_000

    /// The connections here.
    private(set) var count = 0
    /// How many the engine has; nil when that is not known.
    private(set) var announced: Int? = 0
    private(set) var isUnderWay = false
    private var waiting: Deque<Waiter> = []
    /// How many of those who wait the command under way is about.
    private var asked = 0
    /// Whether the engine may have lost what the command under way tells it.
    private var isOutdated = false

    /// On how many nodes the user is, as far as it is known.
    var nodes: Int?
    /// The number of changes when this was so.
    var changes: Int64 = 0
    /// What was told about it.
    var told: Int?
    /// Whether it waits for its turn.
    var isQueued = false

    /// Whether the engine has to be told something.
    var isDue: Bool { !isUnderWay && (!waiting.isEmpty || announced != count) }
    /// Whether somebody waits for the engine.
    var isAwaited: Bool { !waiting.isEmpty }
    /// Whether nothing is left to be known.
    var isGone: Bool { count == 0 && announced == 0 && !isUnderWay && waiting.isEmpty }
    /// Whether only the engine still has to be told that no connection is left.
    var isDeparted: Bool { count == 0 && !isUnderWay && waiting.isEmpty }

    /// Somebody asks for one more connection.
    mutating func wait(_ waiter: Waiter) { waiting.append(waiter) }

    /// There is one more connection, whatever the limit.
    mutating func add() { count += 1 }

    /// There is one connection less.
    mutating func close() { count = max(0, count - 1) }

    /// The engine may have lost what it was told.
    mutating func forget() {
        announced = nil
        nodes = nil
        changes = 0
        isOutdated = isUnderWay
    }

    /// What to tell the engine next; nil when there is nothing, or a command is under way.
    mutating func next() -> Request? {
        guard isDue else { return nil }
        isUnderWay = true
        isOutdated = false
        guard let limit = waiting.first?.limit else { return Request(own: count, wanted: count, limit: 0) }
        asked = waiting.prefix(Self.mostAtOnce).prefix { $0.limit == limit }.count
        return Request(own: count, wanted: count + asked, limit: limit)
    }

    /// The engine has set a number, which lies between the two of the request.
    mutating func answered(_ request: Request, _ number: Int) -> [Outcome] {
        let outcomes = (0..<min(asked, waiting.count)).compactMap { index in
            waiting.popFirst().map { ($0, index < number - request.own) }
        }
        count += outcomes.count { $0.1 }
        announced = isOutdated ? nil : number
        isUnderWay = false
        asked = 0
        return outcomes
    }

    /// What the engine has done is not known.
    mutating func failed() {
        announced = nil
        isUnderWay = false
        asked = 0
    }

    /// Answers all who wait without the engine.
    ///
    /// - Parameter share: How many connections of a limit this node may have.
    mutating func decide(share: (_ limit: Int) -> Int) -> [Outcome] {
        let outcomes = waiting.map { waiter in
            let isGranted = count < share(waiter.limit)
            if isGranted { count += 1 }
            return (waiter, isGranted)
        }
        waiting = []
        asked = 0
        return outcomes
    }
}
