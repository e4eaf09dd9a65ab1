extension Settings {
    /// Settings of a cluster that are probably not intended, worded as in ``warnings``.
    var clusterWarnings: [String] {
        withoutEffect + [openCluster].compactMap(\.self) + plainPasswords
    }

    /// What is set for a cluster while there is none.
    private var withoutEffect: [String] {
        guard clusterURL == nil else { return [] }
        return SettingsRegistry.cluster.filter { $0.show(self) != $0.show(SettingsRegistry.defaults) }.map {
            "\($0.environmentName) has no effect without SIDESOCKET_CLUSTER_URL; set both, or neither"
        }
    }

    private var openCluster: String? {
        guard clusterURL != nil, clusterSecrets == nil else { return nil }
        return "SIDESOCKET_CLUSTER_URL is set, but SIDESOCKET_CLUSTER_SECRET is not: whoever can write to Redis can "
            + "close connections, and read what nodes store and send there; set the same secret on all nodes"
    }

    private var plainPasswords: [String] {
        var warnings: [String] = []
        if clusterURL?.sendsPlainPassword == true { warnings.append(Self.plainPassword("CLUSTER_URL")) }
        if ingestURLs?.contains(where: \.engine.sendsPlainPassword) == true {
            warnings.append(Self.plainPassword("INGEST_URL"))
        }
        return warnings
    }

    private static func plainPassword(_ name: String) -> String {
        "\(SettingsRegistry.prefix)\(name) sends a password without TLS to another machine: whoever can listen on the "
            + "network learns it; write rediss instead of redis"
    }
}

extension EngineURL {
    /// Whether the password leaves this machine unencrypted.
    fileprivate var sendsPlainPassword: Bool {
        password != nil && !isEncrypted && !hosts.allSatisfy(\.isLoopback)
    }
}
