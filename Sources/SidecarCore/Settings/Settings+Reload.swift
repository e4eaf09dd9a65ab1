/// Changing settings while sockets are open.
extension Settings {
    /// The result of a reload.
    public struct Reload: Sendable, Equatable {
        /// The settings in force.
        public let settings: Settings
        /// Variables that have a new value.
        public let changed: [String]
        /// Variables whose new value needs a restart; the old value stays in force.
        public let needRestart: [String]
    }

    /// These settings with the values of `new`, as far as they can change without a restart.
    public func reloading(_ new: Settings, registry: SettingsRegistry = .standard) -> Reload {
        var merged = self
        var changed: [String] = []
        var needRestart: [String] = []
        for definition in registry.definitions where definition.show(self) != definition.show(new) {
            if SettingsRegistry.needRestart.contains(definition.name) || changesControlProtocol(new, definition.name) {
                needRestart.append(definition.environmentName)
            } else {
                definition.copy(new, &merged)
                changed.append(definition.environmentName)
            }
        }
        return Reload(settings: merged, changed: changed, needRestart: needRestart)
    }
}

extension Settings {
    /// A certificate pair can be replaced by another, but whether the control listener uses TLS is fixed at the start.
    private func changesControlProtocol(_ new: Settings, _ name: String) -> Bool {
        ["CONTROL_TLS_CERT", "CONTROL_TLS_KEY"].contains(name)
            && (controlTLSCertificate == nil) != (new.controlTLSCertificate == nil)
    }
}

extension SettingsRegistry {
    /// The variables that are read once at the start: addresses, what is sized by them, and what open connections
    /// share.
    public static let needRestart: Set<String> = [
        "CONFIG", "LISTEN", "CONTROL_LISTEN", "CONTROL_TOKEN", "APP_URL", "APP_HEALTH_PATH",
        "APP_HEALTH_INTERVAL", "READY_NEEDS_APP", "WEBHOOK_URL", "THREADS", "NODE_NAME",
        "LOG_LEVEL", "LOG_FORMAT", "MAX_CONNECTIONS", "RATE_LIMIT_IPV6_PREFIX", "MESSAGE_RATE_PER_IP",
        "MESSAGE_RATE_PER_USER", "MAX_SEND_BUFFER_BYTES", "MAX_TOTAL_SEND_BUFFER_BYTES", "WEBHOOK_MAX_IN_FLIGHT",
        "OUTBOX_DIR",
        "MAX_TOTAL_PENDING_BYTES", "AUTH", "JWT_KEY", "JWT_KEY_ID", "JWT_JWKS_URL", "JWT_ALGORITHMS",
        "JWT_ISSUER", "JWT_AUDIENCE", "JWT_USER_CLAIM", "JWT_LEEWAY", "JWT_SOURCES", "JWT_FORWARD_CLAIMS",
        "AUTO_BAN", "AUDIT_LOG", "WEBHOOK_SECRET",
        "SSE_PATHS", "CHANNEL_POLICIES", "HISTORY_SIZE", "HISTORY_TTL", "MAX_HISTORY_BYTES",
        "CHANNEL_EVENTS", "PUBLISH_RATE", "INGEST_URL", "CLUSTER_URL", "CLUSTER_PREFIX", "CLUSTER_SECRET",
        "CLUSTER_TIMEOUT", "CLUSTER_LEASE", "CLUSTER_MIN_REPLICAS", "READY_NEEDS_CLUSTER",
    ]
}
