public import NIOCore

/// How long a socket may be silent, in which sense, and how long it may live.
public struct HeartbeatPolicy: Sendable, Equatable {
    /// Time without bytes both ways after which a ping is due; nil for no pings.
    public var pingInterval: TimeAmount?
    /// Silence after a ping that counts as death.
    public var pongTimeout: TimeAmount
    /// Time without a data message from the client after which it is closed; nil for ever.
    public var clientIdleTimeout: TimeAmount?
    /// Age at which it is closed; nil for never.
    public var maxAge: TimeAmount?

    /// Makes a policy.
    public init(
        pingInterval: TimeAmount?,
        pongTimeout: TimeAmount,
        clientIdleTimeout: TimeAmount? = nil,
        maxAge: TimeAmount? = nil
    ) {
        self.pingInterval = pingInterval
        self.pongTimeout = pongTimeout
        self.clientIdleTimeout = clientIdleTimeout
        self.maxAge = maxAge
    }

    /// The policy that follows from the settings and the load balancers they name.
    public init(_ settings: Settings, _ plan: HeartbeatPlan) {
        self.init(
            pingInterval: plan.pingInterval,
            pongTimeout: settings.pongTimeout,
            clientIdleTimeout: settings.clientIdleTimeout == Settings.never ? nil : settings.clientIdleTimeout,
            maxAge: plan.maxAge
        )
    }

    /// After how long without an acknowledgement the kernel may give the peer up (`TCP_USER_TIMEOUT`): as late as
    /// the heartbeat would; nil when there is none.
    public var transportTimeout: TimeAmount? { pingInterval.map { $0 + pongTimeout } }
}

/// The life of one socket: when to ping it, and when to call it dead, idle or too old.
///
/// A ping is due unless bytes moved both ways within the interval, so that a one-way stream still notices a dead
/// reader. Any byte from the client is life. Pings go on while an answer is awaited, since a hop on the way may count
/// only what we send. Each socket draws its own interval, ±10 %, for each ping, so that they spread out.
///
/// A deadline that comes up late by more than ``lateness`` judges nobody: then it was us who stood still, and the
/// answers may lie unread.
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

    /// How late a deadline may come up and still count.
    public static let lateness = TimeAmount.seconds(1)

    private var receivedAt: NIODeadline
    private var sentAt: NIODeadline
    private var messageAt: NIODeadline
    private var pingedAt: NIODeadline
    private var awaitingSince: NIODeadline?
    private var measuringSince: NIODeadline?
    private let openedAt: NIODeadline
    private let ageFactor: Double
    private var intervalFactor: Double

    /// The number in the payload of the ping under way.
    public private(set) var pingNumber: UInt32 = 0

    /// Begins at `now`.
    ///
    /// - Parameter jitter: A random number from 0 up to 1.
    public init(openedAt now: NIODeadline, jitter: Double) {
        receivedAt = now
        sentAt = now
        messageAt = now
        pingedAt = now
        openedAt = now
        ageFactor = Self.factor(jitter)
        intervalFactor = Self.factor(jitter)
    }

    private static func factor(_ jitter: Double) -> Double { 0.9 + 0.2 * min(max(jitter, 0), 1) }

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
    /// - Returns: The time that both took; nil when it was told before.
    public mutating func receivedPong(_ number: UInt32, at now: NIODeadline) -> TimeAmount? {
        guard let since = measuringSince, number == pingNumber else { return nil }
        measuringSince = nil
        return now - since
    }

    // MARK: Deadlines

    /// The moment to call ``deadlineReached(at:isReading:hasProgressed:jitter:policy:)`` again; the distant future
    /// when nothing is limited.
    public func nextDeadline(_ policy: HeartbeatPolicy) -> NIODeadline {
        var next = pingDue(policy) ?? .distantFuture
        if let due = deathDue(policy) { next = min(next, due) }
        if let due = idleDue(policy) { next = min(next, due) }
        if let due = ageDue(policy) { next = min(next, due) }
        return next
    }

    /// A deadline may have come.
    ///
    /// - Parameters:
    ///   - isReading: False while it is us who do not read from the client.
    ///   - hasProgressed: True when the client has taken some of what waits for it since the last call: it is slow,
    ///     not dead.
    ///   - jitter: A random number from 0 up to 1.
    public mutating func deadlineReached(
        at now: NIODeadline,
        isReading: Bool,
        hasProgressed: Bool,
        jitter: Double,
        policy: HeartbeatPolicy
    ) -> Step {
        if let due = ageDue(policy), now >= due { return .closeAged }
        if hasProgressed { awaitingSince = nil }
        if let due = deathDue(policy), now >= due {
            if isReading, now - due <= Self.lateness { return .closeUnresponsive }
            awaitingSince = now
        }
        if let due = idleDue(policy), now >= due {
            if isReading, now - due <= Self.lateness { return .closeIdle }
            // Whatever lies unread gets the time to be read.
            if let idle = policy.clientIdleTimeout { messageAt = now - idle + Self.lateness }
        }
        guard let due = pingDue(policy), now >= due else { return .wait }
        pingedAt = now
        sentAt = now
        measuringSince = now
        if awaitingSince == nil { awaitingSince = now }
        pingNumber &+= 1
        intervalFactor = Self.factor(jitter)
        return .sendPing
    }

    private func pingDue(_ policy: HeartbeatPolicy) -> NIODeadline? {
        policy.pingInterval.map { max(min(receivedAt, sentAt), pingedAt) + Self.scaled($0, intervalFactor) }
    }

    private func deathDue(_ policy: HeartbeatPolicy) -> NIODeadline? {
        guard policy.pingInterval != nil, let awaitingSince else { return nil }
        return awaitingSince + policy.pongTimeout
    }

    private func idleDue(_ policy: HeartbeatPolicy) -> NIODeadline? {
        policy.clientIdleTimeout.map { messageAt + $0 }
    }

    private func ageDue(_ policy: HeartbeatPolicy) -> NIODeadline? {
        policy.maxAge.map { openedAt + Self.scaled($0, ageFactor) }
    }

    private static func scaled(_ amount: TimeAmount, _ factor: Double) -> TimeAmount {
        // Durations of settings end at a hundred years, far from where this could overflow.
        .nanoseconds(Int64(Double(amount.nanoseconds) * factor))
    }
}
