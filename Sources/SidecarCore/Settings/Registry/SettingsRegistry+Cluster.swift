internal import NIOCore

/// The variables of several nodes that act as one, and of publishing through an engine.
extension SettingsRegistry {
    static let ingest = [
        SettingDefinition(
            "INGEST_URL",
            .channels,
            \.ingestURLs,
            .ingestURLs,
            unset: "none",
            isSecret: true,
            "The Redis streams to read publications from."
        )
    ]

    static let cluster = [
        SettingDefinition(
            "CLUSTER_URL",
            .cluster,
            \.clusterURL,
            .engineURL,
            unset: "none (this node is alone)",
            isSecret: true,
            "The Redis through which several nodes act as one."
        ),
        SettingDefinition(
            "CLUSTER_PREFIX",
            .cluster,
            \.clusterPrefix,
            .clusterPrefix,
            "The beginning of all keys in Redis; nodes with different prefixes don't see each other."
        ),
        SettingDefinition(
            "CLUSTER_SECRET",
            .cluster,
            \.clusterSecrets,
            .clusterSecrets,
            unset: "none (whoever can write to Redis is trusted)",
            isSecret: true,
            "The secret with which nodes authenticate their messages and encrypt what they store of connections."
        ),
        SettingDefinition(
            "CLUSTER_TIMEOUT",
            .cluster,
            \.clusterTimeout,
            .duration(.milliseconds(100) ... .seconds(10)),
            "How long to wait for Redis or another node before a caller gets an error."
        ),
        SettingDefinition(
            "CLUSTER_LEASE",
            .cluster,
            \.clusterLease,
            .duration(.seconds(3) ... .minutes(5)),
            "How long a node may be silent before the others take it for lost."
        ),
        SettingDefinition(
            "CLUSTER_MIN_REPLICAS",
            .cluster,
            \.clusterMinReplicas,
            .count(0...16),
            "How many replicas of Redis must have a publication before it counts as stored."
        ),
        SettingDefinition(
            "READY_NEEDS_CLUSTER",
            .cluster,
            \.readyNeedsCluster,
            .boolean,
            "Whether /readyz responds with 503 while Redis is unreachable."
        ),
    ]
}
