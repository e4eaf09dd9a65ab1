import NIOCore

/// When to probe a connection, and when to give it up.
struct ConnectionWatch: Sendable {
    /// What to do at a check.
    enum Action: Sendable, Equatable {
        /// Nothing before then.
        case wait(until: NIODeadline)
        /// Send a probe, then check again.
        case probe
        /// The connection is silent: close it.
        case giveUp
    }

    /// A role is looked at so often, even while much is received.
    static var roleInterval: TimeAmount { .seconds(5) }
    /// Probes are at least so far apart.
    static var minProbeInterval: TimeAmount { .seconds(1) }
    /// A check that comes so much too late says nothing about the server: we did not run.
    static var lateness: TimeAmount { .milliseconds(200) }

    private let probeInterval: TimeAmount
    private let probeTimeout: TimeAmount
    private var receivedAt: NIODeadline
    private var probedAt: NIODeadline
    private var isProbing = false
    private var probesAllowed = false
    private var nextCheck: NIODeadline

    init(probeInterval: TimeAmount, probeTimeout: TimeAmount, now: NIODeadline) {
        self.probeInterval = probeInterval
        self.probeTimeout = probeTimeout
        receivedAt = now
        probedAt = now
        nextCheck = now
    }

    /// Something has arrived.
    mutating func received(at now: NIODeadline) { receivedAt = now }

    /// The greeting is over, and the role was just looked at.
    mutating func allowProbes(at now: NIODeadline) {
        probesAllowed = true
        probedAt = now
    }

    /// The reply to the probe has come.
    mutating func probeAnswered() { isProbing = false }

    /// Looks at the time.
    mutating func check(at now: NIODeadline) -> Action {
        let silentAt = receivedAt + probeInterval + probeTimeout
        if now >= silentAt {
            guard now - nextCheck <= Self.lateness else { return wait(until: now + .milliseconds(50)) }
            return .giveUp
        }
        guard probesAllowed, !isProbing else { return wait(until: silentAt) }
        let bySilence = max(receivedAt + probeInterval, probedAt + Self.minProbeInterval)
        let probeAt = min(bySilence, probedAt + Self.roleInterval)
        guard now >= probeAt else { return wait(until: min(probeAt, silentAt)) }
        probedAt = now
        isProbing = true
        return .probe
    }

    private mutating func wait(until deadline: NIODeadline) -> Action {
        nextCheck = deadline
        return .wait(until: deadline)
    }
}
