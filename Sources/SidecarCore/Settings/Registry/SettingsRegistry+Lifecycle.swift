internal import NIOCore

/// The variables that say how sockets are kept alive and how they end.
extension SettingsRegistry {
    static let life = [
        SettingDefinition(
            "LB",
            .life,
            \.loadBalancers,
            .loadBalancers,
            "The load balancers and proxies in front, in any order; their timeouts set the heartbeat."
        ),
        SettingDefinition(
            "LB_IDLE_TIMEOUT",
            .life,
            \.lbIdleTimeout,
            .duration(.milliseconds(200) ... .hours(24)),
            unset: "the shortest of those in LB, else 1m",
            "The shortest idle timeout on the path to the client."
        ),
        SettingDefinition(
            "PING_INTERVAL",
            .life,
            \.pingInterval,
            .duration(.milliseconds(50) ... .hours(24), off: true),
            unset: "5/12 of the idle timeout",
            "How long either direction may be idle before a ping is sent, ±10 %."
        ),
        SettingDefinition(
            "PONG_TIMEOUT",
            .life,
            \.pongTimeout,
            .duration(.milliseconds(50) ... .hours(1)),
            "How long a client may be silent after a ping before its connection is closed with 1001."
        ),
        SettingDefinition(
            "CLIENT_IDLE_TIMEOUT",
            .life,
            \.clientIdleTimeout,
            .duration(.milliseconds(50) ... .hours(24 * 365), off: true),
            "The time without a data message from a client after which its connection is closed with 1001."
        ),
        SettingDefinition(
            "MAX_CONNECTION_AGE",
            .life,
            \.maxConnectionAge,
            .duration(.milliseconds(50) ... .hours(24 * 365), off: true),
            unset: "9/10 of the shortest lifetime in LB, else off",
            "The age at which a WebSocket is closed with 1001, ±10 %."
        ),
        SettingDefinition(
            "DRAIN_TIMEOUT",
            .life,
            \.drainTimeout,
            .duration(.milliseconds(100) ... .hours(1)),
            "The longest a shutdown may take after SIGTERM; with few connections it takes less."
        ),
    ]
}

extension ValueSyntax where Value == [LoadBalancerPreset] {
    static let loadBalancers = ValueSyntax(
        accepted: "\(LoadBalancerPreset.allCases.map(\.rawValue).joined(separator: ", ")); comma-separated; or none",
        takesList: true,
        read: { text throws(ValueProblem) in
            if text.lowercased() == "none" { return [] }
            var presets: [LoadBalancerPreset] = []
            for item in try listItems(text) {
                guard let preset = LoadBalancerPreset(rawValue: item.lowercased()) else {
                    throw ValueProblem("in \(FaultText.quoted(String(item))): is not a known load balancer")
                }
                presets.append(preset)
            }
            return presets
        },
        show: { $0.isEmpty ? "none" : $0.map(\.rawValue).joined(separator: ",") }
    )
}
