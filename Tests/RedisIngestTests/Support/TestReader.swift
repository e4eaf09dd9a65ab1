import NIOCore
import RedisClient

@testable import RedisIngest

/// A node that reads a stream.
final class TestReader: Sendable {
    let log = LogRecorder()
    private let ingest: RedisIngest
    private let task: Task<Void, Never>

    init(
        _ server: RedisServer,
        _ stream: String,
        into target: any IngestTarget,
        prefix: String = "p",
        inCluster: Bool = false,
        user: String? = nil,
        maxMessageBytes: Int = 10_000,
        lease: TimeAmount = .seconds(3)
    ) {
        let address = RedisAddress(host: "127.0.0.1", port: server.port)
        var configuration = RedisConfiguration(topology: inCluster ? .cluster([address]) : .standalone(address))
        configuration.backoff = .milliseconds(10) ... .milliseconds(100)
        configuration.username = user
        configuration.password = user
        var timing = IngestTiming()
        timing.lease = lease
        timing.renewal = .nanoseconds(lease.nanoseconds / 4)
        timing.contention = .milliseconds(20) ... .milliseconds(50)
        timing.pauses = .milliseconds(5) ... .milliseconds(50)
        timing.drain = .seconds(5)
        let ingest = RedisIngest(
            configuration,
            stream: stream,
            prefix: prefix,
            target: target,
            maxMessageBytes: { maxMessageBytes },
            timing: timing,
            logger: log.logger
        )
        self.ingest = ingest
        task = Task { await ingest.run() }
    }

    deinit { task.cancel() }

    /// Ends in an orderly way.
    func stop() async {
        await ingest.stop()
        await task.value
    }

    /// Ends as a process that is killed: its connections close, and nothing else happens.
    func vanish() async {
        task.cancel()
        await task.value
    }
}
