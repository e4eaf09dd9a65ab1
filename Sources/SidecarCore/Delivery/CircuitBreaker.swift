public import NIOCore

/// Keeps calls away from an app address that fails, and lets traffic back gradually.
///
/// ```
///           five in a row fail, or half of ten and more
///  closed ────────────────────────▶ open ◀───────────────────────┐
///    ▲                               │ pause is over              │ fails
///    │ the limit reaches `capacity`  └──▶ half-open: one call ────┤
///    └──────────────── recovering: limit doubles ◀── succeeds ────┘
/// ```
///
/// While it recovers it is judged as when it is closed; otherwise an app that fails now and then would never recover.
public struct CircuitBreaker: Sendable, Equatable {
    /// The result of a call.
    public enum Outcome: Sendable, Equatable {
        /// The app answered, be it with a refusal.
        case success
        /// No answer, or a 5xx.
        case failure
        /// It says nothing about the address's health: the app asked to be called later (429), or its reply to one
        /// event was invalid.
        case neutral
    }

    /// The value of `breaker_state`.
    public enum State: UInt8, Sendable, Equatable {
        case closed = 0
        case halfOpen = 1
        case open = 2

        /// The word in `/readyz`.
        public var word: String {
            switch self {
            case .closed: "closed"
            case .halfOpen: "half-open"
            case .open: "open"
            }
        }
    }

    /// A change that is worth a log line.
    public enum Change: Sendable, Equatable {
        case opened
        case closed
    }

    private enum Phase: Sendable, Equatable {
        case closed
        case open(until: NIODeadline)
        case probing(isInFlight: Bool)
        case recovering(limit: Int)
    }

    /// It opens after this many failures in a row.
    public static let failuresInARow = 5
    /// It opens after this many failures within the window, if they are at least half of all calls.
    public static let failuresOfHalf = 10
    /// Half of the window over which calls are counted.
    static let halfWindow = TimeAmount.seconds(5)
    /// The first pause, and the longest.
    static let pauses = TimeAmount.milliseconds(500)...TimeAmount.seconds(5)

    private let capacity: Int
    private var phase = Phase.closed
    private var pause = CircuitBreaker.pauses.lowerBound
    private var windowBegan = NIODeadline.uptimeNanoseconds(0)
    private var inARow = 0
    private var calls = (recent: 0, before: 0)
    private var failures = (recent: 0, before: 0)

    /// A closed breaker.
    ///
    /// - Parameter capacity: Calls at once with which the address counts as recovered, at least 1.
    public init(capacity: Int) {
        self.capacity = max(capacity, 1)
    }

    /// True when both would decide alike.
    public static func == (one: CircuitBreaker, other: CircuitBreaker) -> Bool {
        one.phase == other.phase && one.pause == other.pause && one.windowBegan == other.windowBegan
            && one.calls == other.calls && one.failures == other.failures && one.capacity == other.capacity
            && one.inARow == other.inARow
    }

    /// The state for metrics; recovering counts as half-open.
    public var state: State {
        switch phase {
        case .closed: .closed
        case .open: .open
        case .probing, .recovering: .halfOpen
        }
    }

    /// When the pause ends, while it is open.
    public var pauseEnds: NIODeadline? {
        if case .open(let until) = phase { return until }
        return nil
    }

    /// True when a call may begin now, in addition to `inFlight` others.
    public func admits(inFlight: Int, at now: NIODeadline) -> Bool {
        switch phase {
        case .closed: true
        case .open(let until): now >= until
        case .probing(let isInFlight): !isInFlight
        case .recovering(let limit): inFlight < limit
        }
    }

    /// A call that ``admits(inFlight:at:)`` let through begins.
    public mutating func began(at now: NIODeadline) {
        switch phase {
        case .open(let until) where now >= until: phase = .probing(isInFlight: true)
        case .probing: phase = .probing(isInFlight: true)
        case .closed, .open, .recovering: break
        }
    }

    /// A call has ended.
    public mutating func ended(_ outcome: Outcome, at now: NIODeadline) -> Change? {
        switch (phase, outcome) {
        case (.closed, .neutral), (.open, _), (.recovering, .neutral):
            return nil
        case (.closed, _):
            guard isTooMuch(outcome, at: now) else { return nil }
            open(at: now)
            return .opened
        case (.probing, .neutral):
            phase = .probing(isInFlight: false)
            return nil
        case (.probing, .success):
            phase = .recovering(limit: 2)
            return closeIfRecovered()
        case (.recovering(let limit), .success):
            _ = isTooMuch(outcome, at: now)
            // One more for each success: that doubles the limit with each round of calls.
            phase = .recovering(limit: limit + 1)
            return closeIfRecovered()
        case (.recovering, .failure):
            if isTooMuch(outcome, at: now) { open(at: now) }
            return nil
        case (.probing, .failure):
            open(at: now)
            return nil
        }
    }

    private mutating func closeIfRecovered() -> Change? {
        guard case .recovering(let limit) = phase, limit >= capacity else { return nil }
        phase = .closed
        pause = Self.pauses.lowerBound
        calls = (0, 0)
        failures = (0, 0)
        return .closed
    }

    /// Counts a call; true when so many have failed that the breaker has to open.
    private mutating func isTooMuch(_ outcome: Outcome, at now: NIODeadline) -> Bool {
        let age = now - windowBegan
        if age >= Self.halfWindow {
            let isRecent = age < Self.halfWindow + Self.halfWindow
            calls = (0, isRecent ? calls.recent : 0)
            failures = (0, isRecent ? failures.recent : 0)
            windowBegan = now
        }
        calls.recent += 1
        guard outcome == .failure else {
            inARow = 0
            return false
        }
        failures.recent += 1
        // Failures that are far apart do not count as a row.
        inARow = age >= Self.halfWindow + Self.halfWindow ? 1 : inARow + 1
        let failed = failures.recent + failures.before
        let isHalf = failed >= Self.failuresOfHalf && failed * 2 >= calls.recent + calls.before
        return isHalf || inARow >= Self.failuresInARow
    }

    private mutating func open(at now: NIODeadline) {
        phase = .open(until: now + pause)
        pause = min(pause + pause, Self.pauses.upperBound)
        inARow = 0
        calls = (0, 0)
        failures = (0, 0)
    }
}
