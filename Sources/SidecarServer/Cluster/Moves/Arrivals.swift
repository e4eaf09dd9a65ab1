import NIOCore

/// What has become of sessions that other nodes have given to this one; by move.
struct Arrivals: Sendable {
    enum State {
        /// Its event loop has yet to take it.
        case arriving
        case taken
        /// It will not be taken any more: the other node keeps it.
        case refused
    }

    /// How long it is remembered.
    private static let memory = TimeAmount.minutes(2)
    /// The most moves of which it is remembered.
    private static let capacity = 200_000

    private var states: [String: (state: State, until: NIODeadline)] = [:]

    /// A session has come.
    ///
    /// - Returns: False when it is not to be taken.
    mutating func begin(_ move: String, at now: NIODeadline) -> Bool {
        guard states[move] == nil, hasRoom(at: now) else { return false }
        states[move] = (.arriving, now + Self.memory)
        return true
    }

    /// Its event loop has taken it, or has not.
    mutating func end(_ move: String, isTaken: Bool, at now: NIODeadline) {
        states[move] = (isTaken ? .taken : .refused, now + Self.memory)
    }

    /// What another node is told that asks; from then on, what has not come is refused. Nil when that cannot be said.
    mutating func state(of move: String, at now: NIODeadline) -> State? {
        if let known = states[move] { return known.state }
        guard hasRoom(at: now) else { return nil }
        states[move] = (.refused, now + Self.memory)
        return .refused
    }

    private mutating func hasRoom(at now: NIODeadline) -> Bool {
        if states.count >= Self.capacity { states = states.filter { $0.value.until > now } }
        return states.count < Self.capacity
    }
}
