import Logging
import RedisClient
import RedisCluster
import RedisIngest
import ServiceLifecycle
import SidecarCore
import SidecarServer

/// Publishes what the streams of `INGEST_URL` bring.
struct IngestService: Service, CustomStringConvertible {
    private let sources: [RedisIngest]

    /// The library that runs services logs them; URLs hold secrets.
    var description: String { "IngestService" }

    /// - Throws: An `EngineURLFault` when a file of a URL cannot be used.
    init(_ urls: [IngestURL], edge: EdgeService, settings: Settings, logger: Logger) throws {
        sources = try urls.map { url in
            RedisIngest(
                try RedisConfiguration(url.engine, variable: "INGEST_URL", timeout: settings.clusterTimeout),
                stream: url.stream,
                prefix: settings.clusterPrefix,
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
