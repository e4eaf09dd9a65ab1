public import NIOCore

/// The time limits of a socket: when to ping, and how long it may be silent, idle and open.
public struct HeartbeatPolicy: Sendable, Equatable {
    /// How long either direction may be idle before a ping is due; nil for no pings.
    public var pingInterval: TimeAmount?
    /// How long to wait for an answer to a ping before the client counts as dead.
    public var pongTimeout: TimeAmount
    /// Time without a data message from the client after which it is closed; nil for ever.
    public var clientIdleTimeout: TimeAmount?
    /// The age at which it is closed; nil for never.
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

    /// The policy that follows from the settings and the load balancers named in them.
    public init(_ settings: Settings, _ plan: HeartbeatPlan) {
        self.init(
            pingInterval: plan.pingInterval,
            pongTimeout: settings.pongTimeout,
            clientIdleTimeout: settings.clientIdleTimeout == Settings.never ? nil : settings.clientIdleTimeout,
            maxAge: plan.maxAge
        )
    }

    /// How long data may go unacknowledged before the kernel gives up the peer (`TCP_USER_TIMEOUT`): as long as the
    /// heartbeat would wait; nil when there is none.
    public var transportTimeout: TimeAmount? { pingInterval.map { $0 + pongTimeout } }
}
