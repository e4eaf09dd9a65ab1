public import NIOCore

/// What follows from the load balancers in front: which hop sets the limit, how often to ping, and how old a socket may
/// get.
///
/// Ping at half of the shortest idle timeout on the way or more often: under load, a ping that is due just when the
/// timeout ends would come too late. Close a socket before a hop that limits its whole lifetime does.
public struct HeartbeatPlan: Sendable, Equatable {
    /// Where a value comes from.
    public enum Source: Sendable, Equatable {
        /// Its own variable.
        case setting
        /// The hop that has the smallest value.
        case hop(LoadBalancerPreset)
        /// The default: neither a variable nor a hop names a value.
        case fallback
    }

    /// The idle timeout that is assumed when none is named.
    public static let usualIdleTimeout = TimeAmount.seconds(60)

    /// The hops that `LB` names.
    public let hops: [LoadBalancerPreset]
    /// The shortest idle timeout on the way.
    public let idleTimeout: TimeAmount
    /// Where it comes from.
    public let idleSource: Source
    /// How long either direction may be idle before a ping is due, before jitter; nil for no pings.
    public let pingInterval: TimeAmount?
    /// Whether the interval was set or follows from the idle timeout.
    public let isPingIntervalSet: Bool
    /// The age at which a socket is closed, before jitter; nil for none.
    public let maxAge: TimeAmount?
    /// Where it comes from.
    public let ageSource: Source
    /// Contradictions between the settings, and what to change.
    public let warnings: [String]

    /// Derives the plan from the settings.
    public init(_ settings: Settings) {
        hops = settings.loadBalancers
        let idleHop = hops.filter { $0.idleTimeout != nil }.min {
            ($0.idleTimeout ?? .zero) < ($1.idleTimeout ?? .zero)
        }
        if let set = settings.lbIdleTimeout {
            (idleTimeout, idleSource) = (set, .setting)
        } else if let idleHop, let idle = idleHop.idleTimeout {
            (idleTimeout, idleSource) = (idle, .hop(idleHop))
        } else {
            (idleTimeout, idleSource) = (Self.usualIdleTimeout, .fallback)
        }
        isPingIntervalSet = settings.pingInterval != nil
        let interval = settings.pingInterval ?? .nanoseconds(idleTimeout.nanoseconds / 12 * 5)
        pingInterval = interval == Settings.never ? nil : interval

        let absoluteHop = hops.filter { $0.absoluteTimeout != nil }
            .min { ($0.absoluteTimeout ?? .zero) < ($1.absoluteTimeout ?? .zero) }
        if let set = settings.maxConnectionAge {
            (maxAge, ageSource) = (set == Settings.never ? nil : set, .setting)
        } else if let absoluteHop, let absolute = absoluteHop.absoluteTimeout {
            (maxAge, ageSource) = (.nanoseconds(absolute.nanoseconds / 10 * 9), .hop(absoluteHop))
        } else {
            (maxAge, ageSource) = (nil, .fallback)
        }
        warnings = [
            Self.idleWarning(idleTimeout, idleSource, idleHop),
            Self.pingWarning(pingInterval, idleTimeout, idleSource),
            Self.ageWarning(maxAge, absoluteHop),
            Self.clientIdleWarning(settings),
        ].compactMap { $0 }
    }

    /// True when the interval is so long that hops would drop idle sockets; the process refuses to start with that.
    public var losesTheRace: Bool {
        guard let pingInterval else { return false }
        return pingInterval >= idleTimeout
    }

    private static func idleWarning(_ idle: TimeAmount, _ source: Source, _ hop: LoadBalancerPreset?) -> String? {
        guard source == .setting, let hop, let usual = hop.idleTimeout, idle > usual else { return nil }
        return "SIDESOCKET_LB_IDLE_TIMEOUT=\(showDuration(idle)) is longer than the \(showDuration(usual)) that "
            + "\(hop.rawValue) has by default: make sure that it is raised there, or leave the variable out"
    }

    private static func pingWarning(_ interval: TimeAmount?, _ idle: TimeAmount, _ source: Source) -> String? {
        guard let interval else {
            return source == .fallback
                ? nil
                : "SIDESOCKET_PING_INTERVAL=off: connections idle for \(showDuration(idle)) are dropped by a proxy; "
                    + "leave the variable out for pings below that"
        }
        guard interval < idle, interval.nanoseconds > idle.nanoseconds / 2 else { return nil }
        return "SIDESOCKET_PING_INTERVAL=\(showDuration(interval)) is more than half of the idle timeout "
            + "\(showDuration(idle)): one late ping loses the connection; set at most "
            + "\(showDuration(.nanoseconds(idle.nanoseconds / 2))), or leave it out"
    }

    private static func ageWarning(_ age: TimeAmount?, _ hop: LoadBalancerPreset?) -> String? {
        guard let hop, let absolute = hop.absoluteTimeout else { return nil }
        // The jitter may add a tenth.
        if let age, age.nanoseconds / 10 * 11 <= absolute.nanoseconds { return nil }
        let set = age.map(showDuration) ?? "off"
        return "SIDESOCKET_MAX_CONNECTION_AGE=\(set): \(hop.rawValue) ends every connection after "
            + "\(showDuration(absolute)) unless that was raised there; "
            + "set at most \(showDuration(.nanoseconds(absolute.nanoseconds / 10 * 9))), or leave it out"
    }

    private static func clientIdleWarning(_ settings: Settings) -> String? {
        guard settings.clientIdleTimeout != Settings.never, settings.clientIdleTimeout < .seconds(1) else { return nil }
        return "SIDESOCKET_CLIENT_IDLE_TIMEOUT=\(showDuration(settings.clientIdleTimeout)) closes most connections"
    }

    // MARK: In words

    /// The chain of hops, the hop that sets the limit, the interval, and why; for `check` and for the log at the start.
    public var explanation: [String] {
        [chainSentence, idleSentence, pingSentence, ageSentence]
            + hops.filter { !$0.note.isEmpty }.map {
                "\($0.rawValue): \($0.note)."
            }
    }

    private var chainSentence: String {
        hops.isEmpty
            ? "No load balancer is named (LB)."
            : "Path: client → \(hops.map(\.rawValue).joined(separator: " → ")) → sidesocket."
    }

    private var idleSentence: String {
        switch idleSource {
        case .setting: "The idle timeout is set by LB_IDLE_TIMEOUT: \(showDuration(idleTimeout))."
        case .hop(let hop): "The shortest idle timeout is that of \(hop.rawValue): \(showDuration(idleTimeout))."
        case .fallback: "An idle timeout of \(showDuration(idleTimeout)) is assumed."
        }
    }

    private var pingSentence: String {
        guard let pingInterval else { return "No pings are sent (PING_INTERVAL=off)." }
        let why = isPingIntervalSet ? "set by PING_INTERVAL" : "five twelfths of the idle timeout"
        return "A ping is sent when either direction has been idle for \(showDuration(pingInterval)) ±10 % (\(why))."
    }

    private var ageSentence: String {
        guard let maxAge else { return "Connections have no maximum age." }
        switch ageSource {
        case .hop(let hop):
            return "Connections are closed at the age of \(showDuration(maxAge)) ±10 %, before \(hop.rawValue) does."
        case .setting, .fallback:
            return "Connections are closed at the age of \(showDuration(maxAge)) ±10 % (MAX_CONNECTION_AGE)."
        }
    }
}
