public import NIOCore

/// The heartbeat of one socket: when to ping it, and when it counts as dead, idle or too old.
///
/// A ping is due unless bytes moved both ways within the interval, so that a dead reader of a one-way stream is still
/// noticed. Any byte from the client counts as an answer. Pings go on while an answer is awaited, since a hop on the
/// way may count only what we send. Each socket draws a new interval, ±10 %, for each ping, so that pings spread out.
///
/// After a deadline there is a ``grace`` in which unread bytes are read before the socket is judged. A deadline that
/// comes up late by more than ``lateness`` has no consequences: then this process was stalled.
///
/// A client that cannot answer, as on an event stream, is only closed for its age. A ping, or what replaces it, is then
/// due unless bytes went out within the interval.
public struct Heartbeat: Sendable, Equatable {
    /// What to do at a deadline.
    public enum Step: Sendable, Equatable {
        /// Nothing until ``Heartbeat/nextDeadline(_:)``.
        case wait
        /// Send a ping, then wait.
        case sendPing
        /// No answer to a ping: close with 1001.
        case closeUnresponsive
        /// No data message for too long: close with 1001.
        case closeIdle
        /// Too old: close with 1001.
        case closeAged
    }

    /// The time between the deadline for an answer and the decision.
    public static let grace = TimeAmount.milliseconds(200)
    /// How late a deadline may come up and still count.
    public static let lateness = TimeAmount.seconds(1)

    /// When bytes came from the client last.
    public private(set) var receivedAt: NIODeadline
    private var sentAt: NIODeadline
    private var messageAt: NIODeadline
    private var pingedAt: NIODeadline
    private let openedAt: NIODeadline
    private let factor: Double
    private var awaitingSince: NIODeadline?
    private let hasAnswers: Bool
    /// True until the round trip of the last ping has been reported.
    private var isMeasuring = false
    /// The number in the payload of the ping in flight.
    public private(set) var pingNumber: UInt32 = 0
    private var verdictAt: NIODeadline?

    /// Begins at `now`.
    ///
    /// - Parameters:
    ///   - jitter: A random number from 0 up to 1, which makes this connection's interval and age differ from those of
    ///     others that opened with it.
    ///   - hasAnswers: False for a client that can send nothing.
    public init(openedAt now: NIODeadline, jitter: Double, hasAnswers: Bool = true) {
        self.hasAnswers = hasAnswers
        receivedAt = now
        sentAt = now
        messageAt = now
        pingedAt = now
        openedAt = now
        factor = 0.9 + 0.2 * min(max(jitter, 0), 1)
    }

    // MARK: What moves

    /// Any bytes came from the client.
    public mutating func received(at now: NIODeadline) {
        receivedAt = now
        awaitingSince = nil
    }

    /// A whole data message came from the client.
    public mutating func receivedMessage(at now: NIODeadline) {
        messageAt = now
    }

    /// Bytes went out to the client.
    public mutating func sent(at now: NIODeadline) {
        sentAt = now
    }

    /// A pong came with the number of the last ping.
    ///
    /// - Returns: The round-trip time; nil when it was reported before.
    public mutating func receivedPong(_ number: UInt32, at now: NIODeadline) -> TimeAmount? {
        guard isMeasuring, number == pingNumber else { return nil }
        isMeasuring = false
        return now - pingedAt
    }

    // MARK: Deadlines

    /// The moment to call ``deadlineReached(at:isReading:hasProgressed:policy:)`` again; the distant future
    /// when nothing is limited.
    public func nextDeadline(_ policy: HeartbeatPolicy) -> NIODeadline {
        var next = pingDue(policy) ?? .distantFuture
        if let verdictAt {
            next = min(next, verdictAt)
        } else {
            if let due = deathDue(policy) { next = min(next, due) }
            if let due = idleDue(policy) { next = min(next, due) }
        }
        if let due = ageDue(policy) { next = min(next, due) }
        return next
    }

    /// A deadline may have come.
    ///
    /// - Parameters:
    ///   - isReading: False while we have stopped reading from the client.
    ///   - hasProgressed: True when the client has taken some of its unsent bytes since the last call: it is slow,
    ///     not dead.
    public mutating func deadlineReached(
        at now: NIODeadline,
        isReading: Bool = true,
        hasProgressed: Bool = false,
        policy: HeartbeatPolicy
    ) -> Step {
        if let due = ageDue(policy), now >= due { return .closeAged }
        if hasProgressed { awaitingSince = nil }
        if let verdict = judge(at: now, isReading: isReading, policy) { return verdict }
        guard let due = pingDue(policy), now >= due else { return .wait }
        pingedAt = now
        sentAt = now
        guard hasAnswers else { return .sendPing }
        isMeasuring = true
        if awaitingSince == nil { awaitingSince = now }
        pingNumber &+= 1
        return .sendPing
    }

    private mutating func judge(at now: NIODeadline, isReading: Bool, _ policy: HeartbeatPolicy) -> Step? {
        let death = deathDue(policy).flatMap { now >= $0 ? $0 : nil }
        let idle = idleDue(policy).flatMap { now >= $0 ? $0 : nil }
        guard let due = death ?? idle else {
            verdictAt = nil
            return nil
        }
        let expected = verdictAt ?? due
        if isReading, now - expected <= Self.lateness {
            guard let at = verdictAt else {
                verdictAt = now + Self.grace
                return nil
            }
            guard now >= at else { return nil }
            return death != nil ? .closeUnresponsive : .closeIdle
        }
        verdictAt = nil
        if death != nil { awaitingSince = now }
        // Leaves time to read what has not been read yet.
        if idle != nil, let limit = policy.clientIdleTimeout { messageAt = now - limit + Self.lateness }
        return nil
    }

    private func pingDue(_ policy: HeartbeatPolicy) -> NIODeadline? {
        let movedAt = hasAnswers ? min(receivedAt, sentAt) : sentAt
        return policy.pingInterval.map { max(movedAt, pingedAt) + scaled($0) }
    }

    private func deathDue(_ policy: HeartbeatPolicy) -> NIODeadline? {
        guard policy.pingInterval != nil, let awaitingSince else { return nil }
        return awaitingSince + policy.pongTimeout
    }

    private func idleDue(_ policy: HeartbeatPolicy) -> NIODeadline? {
        guard hasAnswers else { return nil }
        return policy.clientIdleTimeout.map { messageAt + $0 }
    }

    private func ageDue(_ policy: HeartbeatPolicy) -> NIODeadline? {
        policy.maxAge.map { openedAt + scaled($0) }
    }

    private func scaled(_ amount: TimeAmount) -> TimeAmount {
        // Settings allow at most a hundred years, far below an overflow.
        .nanoseconds(Int64(Double(amount.nanoseconds) * factor))
    }
}
