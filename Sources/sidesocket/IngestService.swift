import Logging
import RedisClient
import RedisIngest
import ServiceLifecycle
import SidecarCore
import SidecarServer

/// Publishes what the streams of `INGEST_URL` bring.
struct IngestService: Service, CustomStringConvertible {
    private let sources: [RedisIngest]

    /// The library that runs services logs them; URLs hold secrets.
    var description: String { "IngestService" }

    /// - Parameter prefix: `CLUSTER_PREFIX`.
    init(_ streams: [(RedisConfiguration, stream: String)], edge: EdgeService, prefix: String, logger: Logger) {
        sources = streams.map { configuration, stream in
            RedisIngest(
                configuration,
                stream: stream,
                prefix: prefix,
                target: EdgeTarget(edge: edge),
                maxMessageBytes: { edge.settings.maxReplyBytes },
                logger: logger
            )
        }
    }

    func run() async {
        await withTaskGroup(of: Void.self) { tasks in
            for source in sources { tasks.addTask { await source.run() } }
            try? await gracefulShutdown()
            await withTaskGroup(of: Void.self) { stops in
                for source in sources { stops.addTask { await source.stop() } }
            }
            await tasks.waitForAll()
        }
    }
}

/// The channels of this process.
private struct EdgeTarget: IngestTarget {
    let edge: EdgeService

    func publish(
        _ publication: Publication,
        excluding id: String?,
        idempotencyKey: String
    ) async -> Result<Void, ChannelFailure> {
        await edge.publish(publication, excluding: id, idempotencyKey: idempotencyKey)
    }
}
