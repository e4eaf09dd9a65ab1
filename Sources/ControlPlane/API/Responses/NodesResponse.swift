internal import Hummingbird
internal import SidecarCore

/// `GET /v1/nodes`.
struct NodesResponse: ResponseEncodable {
    struct Engine: Encodable {
        let kind: String
        let up: Bool
    }

    struct Node: Encodable {
        let name: String
        let version: String
        let startedAt: String
        let connections: Int
        let channels: Int
        let leaseMs: Int64
    }

    let engine: Engine
    let nodes: [Node]
    /// What should not be so between them; left out when all is well.
    let warnings: [String]?

    init(_ cluster: ClusterInfo) {
        warnings = cluster.warnings.nonEmpty
        engine = Engine(kind: cluster.engine.kind, up: cluster.engine.isUp)
        nodes = cluster.nodes.map {
            Node(
                name: $0.name,
                version: $0.version,
                startedAt: Timestamp.text(unixMilliseconds: $0.startedAt),
                connections: $0.connections,
                channels: $0.channels,
                leaseMs: $0.leaseMilliseconds
            )
        }
    }
}
