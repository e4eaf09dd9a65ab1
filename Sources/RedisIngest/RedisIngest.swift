public import Logging
import NIOCore
import NIOPosix
public import RedisClient
import SidecarCore
import Synchronization

/// Publishes what producers add to a stream of Redis.
///
/// Of all nodes with the same stream and prefix, one reads at a time; another one takes over when it is lost or stops. An
/// entry is acknowledged when the target has stored it, so that it is published at least once, and once as far as the
/// target remembers idempotency keys. Entries of one channel keep their order.
public final class RedisIngest: Sendable {
    private struct Job: Sendable {
        let item: IngestItem
        let key: String
    }

    private enum State {
        case idle
        case running(NIOLoopBoundBox<IngestShell?>, waiters: [CheckedContinuation<Void, Never>])
        case ended
    }

    /// Never shut down: attempts to connect may end after the client that began them is closed.
    private static let threads = MultiThreadedEventLoopGroup(numberOfThreads: 1)

    private let commands: IngestCommands
    private let target: any IngestTarget
    private let maxMessageBytes: @Sendable () -> Int
    private let logger: Logger
    private let state = Mutex(State.idle)

    /// Describes what is to be read; ``run()`` reads it.
    ///
    /// - Parameters:
    ///   - configuration: Where the stream is.
    ///   - stream: The stream's key; also the label `source` of the metrics.
    ///   - prefix: `CLUSTER_PREFIX`: the name of the consumer group, and the beginning of the keys beside the stream.
    ///   - target: Who publishes.
    ///   - maxMessageBytes: The most bytes of a message (`MAX_REPLY_BYTES`); asked again and again, on another thread.
    public convenience init(
        _ configuration: RedisConfiguration,
        stream: String,
        prefix: String,
        target: any IngestTarget,
        maxMessageBytes: @escaping @Sendable () -> Int,
        logger: Logger
    ) {
        self.init(
            configuration,
            stream: stream,
            prefix: prefix,
            target: target,
            maxMessageBytes: maxMessageBytes,
            timing: IngestTiming(),
            logger: logger
        )
    }

    init(
        _ configuration: RedisConfiguration,
        stream: String,
        prefix: String,
        target: any IngestTarget,
        maxMessageBytes: @escaping @Sendable () -> Int,
        timing: IngestTiming,
        logger: Logger
    ) {
        var configuration = configuration
        configuration.limits.maxBytes = max(
            configuration.limits.maxBytes,
            IngestCommands.maxReplyBytes(maxMessageBytes(), timing)
        )
        commands = IngestCommands(
            keys: IngestKeys(stream: stream, prefix: prefix),
            token: Self.randomName(),
            timing: timing,
            configuration: configuration
        )
        self.target = target
        self.maxMessageBytes = maxMessageBytes
        var logger = logger
        logger[metadataKey: "stream"] = "\(stream)"
        self.logger = logger
    }

    private static func randomName() -> String {
        "\(String(UInt64.random(in: 0 ... .max), radix: 16))\(String(UInt64.random(in: 0 ... .max), radix: 16))"
    }

    // MARK: Life

    /// Reads until ``stop()``, and returns when the target has answered all that it was asked; call it once.
    ///
    /// All streams share a thread, which serves nothing else. If the task that runs this is cancelled, reading ends at
    /// once, without giving up the lease, which then ends with its time.
    public func run() async {
        let eventLoop = Self.threads.next()
        let box = NIOLoopBoundBox.makeEmptyBox(valueType: IngestShell.self, eventLoop: eventLoop)
        let (jobs, feed) = AsyncStream.makeStream(of: Job.self)
        let isFirst = state.withLock { state in
            guard case .idle = state else { return false }
            state = .running(box, waiters: [])
            // Under the lock, so that whoever sees the state comes later on the event loop, too.
            eventLoop.execute { self.start(box, on: eventLoop, feed) }
            return true
        }
        guard isFirst else { return }
        await withTaskCancellationHandler {
            await publish(jobs, for: box)
        } onCancel: {
            eventLoop.execute { box.value?.abandon() }
        }
        // Here, because what the box holds belongs to the event loop.
        try? await eventLoop.submit {
            box.value?.abandon()
            box.value = nil
        }.get()
    }

    private func start(
        _ box: NIOLoopBoundBox<IngestShell?>,
        on eventLoop: any EventLoop,
        _ feed: AsyncStream<Job>.Continuation
    ) {
        let shell = IngestShell(
            commands,
            eventLoop: eventLoop,
            maxMessageBytes: maxMessageBytes,
            metrics: IngestMetrics(source: commands.keys.stream),
            logger: logger
        ) { item, key in
            feed.yield(Job(item: item, key: key))
        } ended: { [weak self] in
            feed.finish()
            self?.hasEnded()
        }
        box.value = shell
        shell.start()
    }

    /// Passes on to the target what the machine lets go; as many at a time as there are channels.
    private func publish(_ jobs: AsyncStream<Job>, for box: NIOLoopBoundBox<IngestShell?>) async {
        await withDiscardingTaskGroup { tasks in
            for await job in jobs {
                tasks.addTask { [target] in
                    let entry = job.item.entry
                    let result = await target.publish(
                        entry.publication,
                        excluding: entry.excluded,
                        idempotencyKey: job.key
                    )
                    box.eventLoop.execute { box.value?.published(job.item, result) }
                }
            }
            // What is still under way had its time; the next reader does it again.
            tasks.cancelAll()
        }
    }

    /// Ends reading in an orderly way: nothing new is begun; what is under way is awaited for some seconds and
    /// acknowledged, and the lease is given up, so that another node can read at once.
    public func stop() async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                guard case .running(let box, let waiters) = state else {
                    state = .ended
                    return true
                }
                state = .running(box, waiters: waiters + [continuation])
                box.eventLoop.execute { box.value?.stop() }
                return false
            }
            if isOver { continuation.resume() }
        }
    }

    private func hasEnded() {
        let waiters = state.withLock { state in
            defer { state = .ended }
            if case .running(_, let waiters) = state { return waiters }
            return []
        }
        for waiter in waiters { waiter.resume() }
    }
}
