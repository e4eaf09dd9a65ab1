internal import Hummingbird

/// `GET /readyz`.
struct ReadinessResponse: ResponseEncodable {
    struct Reachability: Encodable {
        @Nullable var reachable: Bool?
    }

    struct Address: Encodable {
        let address: String
        let breaker: String
        let down: Bool
        let inFlight: Int
    }

    struct Outbox: Encodable {
        @Nullable var writable: Bool?
    }

    struct Cluster: Encodable {
        let up: Bool
    }

    struct Capacity: Encodable {
        let connections: Int
        let maxConnections: Int
        let inFlight: Int
        let maxInFlight: Int
        let pendingBytes: Int
        let maxPendingBytes: Int
    }

    let status: Readiness.Status
    let app: Reachability
    let apps: [Address]
    let outbox: Outbox
    /// Left out on a node without a cluster.
    let cluster: Cluster?
    let capacity: Capacity

    init(_ readiness: Readiness) {
        status = readiness.status
        app = Reachability(reachable: readiness.appReachable)
        apps = readiness.apps.map {
            Address(address: $0.address, breaker: $0.breaker, down: $0.isDown, inFlight: $0.inFlight)
        }
        outbox = Outbox(writable: readiness.outboxWritable)
        cluster = readiness.clusterIsUp.map(Cluster.init)
        capacity = Capacity(
            connections: readiness.connections,
            maxConnections: readiness.maxConnections,
            inFlight: readiness.inFlight,
            maxInFlight: readiness.maxInFlight,
            pendingBytes: readiness.pendingBytes,
            maxPendingBytes: readiness.maxPendingBytes
        )
    }
}

/// `POST /v1/drain`.
struct DrainResponse: ResponseEncodable {
    let draining: Bool
}
