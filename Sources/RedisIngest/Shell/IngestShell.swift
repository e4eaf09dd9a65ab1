import Logging
import NIOCore
import RedisClient
import SidecarCore

/// Carries out what the machine says, on one event loop.
final class IngestShell {
    private let eventLoop: any EventLoop
    private let client: RedisClient
    private let commands: IngestCommands
    private let maxMessageBytes: @Sendable () -> Int
    private let metrics: IngestMetrics
    /// Passes an item on to the target, with its idempotency key.
    private let publish: (IngestItem, String) -> Void
    private let ended: () -> Void

    private var machine: IngestMachine
    private var log: IngestLog
    private var generator = SystemRandomNumberGenerator()
    /// What names the stream in idempotency keys; known with the lease.
    private var source = ""
    private var timer: Scheduled<Void>?
    private var timerDue: NIODeadline?
    private var isPumping = false
    private var isClosed = false

    /// - Parameters:
    ///   - publish: Passes an item on to the target; its result goes to ``published(_:_:)``.
    ///   - ended: Called once, when the connections are closed.
    init(
        _ commands: IngestCommands,
        eventLoop: any EventLoop,
        maxMessageBytes: @escaping @Sendable () -> Int,
        metrics: IngestMetrics,
        logger: Logger,
        publish: @escaping (IngestItem, String) -> Void,
        ended: @escaping () -> Void
    ) {
        self.eventLoop = eventLoop
        self.commands = commands
        self.maxMessageBytes = maxMessageBytes
        self.metrics = metrics
        self.publish = publish
        self.ended = ended
        client = RedisClient(commands.configuration, eventLoop: eventLoop, logger: logger)
        machine = IngestMachine(commands.timing, at: eventLoop.now)
        log = IngestLog(logger)
    }

    func start() {
        client.start()
        pump()
    }

    /// Ends in an orderly way.
    func stop() {
        machine.stop(at: eventLoop.now)
        pump()
    }

    /// Ends at once; the lease ends by itself.
    func abandon() { close() }

    private func close() {
        guard !isClosed else { return }
        isClosed = true
        timer?.cancel()
        client.close()
        ended()
    }

    // MARK: What the machine says

    private func pump() {
        guard !isPumping, !isClosed else { return }
        isPumping = true
        while !isClosed, let action = machine.next(at: eventLoop.now) { perform(action) }
        isPumping = false
        arm()
    }

    private func arm() {
        guard !isClosed, let due = machine.nextDue else { return }
        if let timerDue, timerDue <= due { return }
        timer?.cancel()
        timerDue = due
        timer = eventLoop.assumeIsolated().scheduleTask(deadline: due) { [weak self] in
            self?.timerDue = nil
            self?.pump()
        }
    }

    private func perform(_ action: IngestMachine.Action) {
        switch action {
        case .acquireLease(let start): send(commands.acquire(groupStart: start)) { $0.acquired($1) }
        case .renewLease: send(commands.renew()) { $0.renewed($1) }
        case .releaseLease: send(commands.release()) { shell, _ in shell.machine.leaseReleased() }
        case .reader(.read(let after, let count, let bytes)):
            let limit = maxMessageBytes()
            send(commands.read(after: after, count: count, bytes: bytes, maxMessageBytes: limit)) {
                $0.read($1, limit)
            }
        case .reader(.wait(let last)): wait(last)
        case .reader(.publish(let item)):
            publish(item, item.entry.id ?? "ingest:\(source):\(commands.keys.stream):\(item.id)")
        case .reader(.report(let entry)): report(entry)
        case .reader(.acknowledge(let ids)): send(commands.acknowledge(ids)) { $0.acknowledged($1) }
        case .reportGained: log.notice("this node reads the stream now")
        case .reportLost(.expired):
            log.warning(
                "this node has lost the lease of the stream",
                "Redis did not renew it in time.",
                at: eventLoop.now
            )
        case .reportLost(.taken):
            log.warning("this node has lost the lease of the stream", "Another node has it.", at: eventLoop.now)
        case .close: close()
        }
    }

    private func send(
        _ command: RedisCommand,
        _ answered: @escaping (IngestShell, Result<RESPValue, RedisFailure>) -> Void
    ) {
        client.send(command) { [weak self] result in
            guard let self, !self.isClosed else { return }
            answered(self, result)
            self.pump()
        }
    }

    private func wait(_ last: EntryID) {
        // On the connection for subscriptions, of which there are none: the others must not wait for it.
        client.sendOnSubscriber(commands.wait(after: last)) { [weak self] result in
            guard let self, !self.isClosed else { return }
            let isOver = if case .success = result { true } else { false }
            self.machine.waited(isOver, at: self.eventLoop.now)
            self.pump()
        }
    }

    private func report(_ entry: TakenEntry) {
        switch entry.content {
        case .message: break
        case .bad(let fault):
            metrics.count(.bad)
            log.skipped(entry.id, fault.sentence, at: eventLoop.now)
        case .removed:
            metrics.count(.removed)
            log.skipped(entry.id, "It was removed from the stream before it was published.", at: eventLoop.now)
        }
    }

    // MARK: Answers of the server

    private func acquired(_ result: Result<RESPValue, RedisFailure>) {
        let now = eventLoop.now
        switch result {
        case .success(let value):
            if value.integer == 0 {
                log.works(.lease)
                return machine.leaseRefused(at: now, using: &generator)
            }
            guard let items = value.items, items.count == 2, let name = items[0].text else {
                log.failed(.lease, Self.wrongShape, at: now)
                return machine.leaseFailed(at: now, using: &generator)
            }
            source = name
            log.works(.lease)
            if items[1].integer == 1 {
                log.notice("made the consumer group of the stream", ["group": "\(commands.keys.group)"])
            }
            machine.leaseAcquired(at: now)
        case .failure(let failure):
            told(.lease, failure, now)
            machine.leaseFailed(at: now, using: &generator)
        }
    }

    private func renewed(_ result: Result<RESPValue, RedisFailure>) {
        let now = eventLoop.now
        switch result {
        case .success(let value):
            log.works(.lease)
            if value.integer == 1 {
                machine.leaseRenewed(at: now)
            } else {
                machine.leaseRefused(at: now, using: &generator)
            }
        case .failure(let failure):
            told(.lease, failure, now)
            machine.leaseFailed(at: now, using: &generator)
        }
    }

    private func read(_ result: Result<RESPValue, RedisFailure>, _ limit: Int) {
        let now = eventLoop.now
        switch result {
        case .success(let value):
            switch ReadReply(value, maxMessageBytes: limit) {
            case .refused: machine.readRefused(at: now, using: &generator)
            case .taken(let entries, let remainder, let last):
                log.works(.reading)
                machine.answered(
                    .taken(entries, remainder, lastDelivered: last),
                    at: now,
                    using: &generator
                )
            case nil:
                log.failed(.reading, Self.wrongShape, at: now)
                machine.answered(.failed, at: now, using: &generator)
            }
        case .failure(.refused(let reply)) where reply.code == "NOGROUP":
            log.failed(.reading, "The consumer group or the stream was deleted. It is made again.", at: now)
            machine.answered(.groupMissing, at: now, using: &generator)
        case .failure(let failure):
            told(.reading, failure, now)
            machine.answered(.failed, at: now, using: &generator)
        }
    }

    private func acknowledged(_ result: Result<RESPValue, RedisFailure>) {
        let now = eventLoop.now
        switch result {
        case .success:
            log.works(.acknowledging)
            machine.acknowledged(true, at: now, using: &generator)
        case .failure(let failure):
            told(.acknowledging, failure, now)
            machine.acknowledged(false, at: now, using: &generator)
        }
    }

    /// Logs what somebody has to mend. That the server is away is told by the client.
    private func told(_ area: IngestLog.Area, _ failure: RedisFailure, _ now: NIODeadline) {
        guard case .refused(let reply) = failure else { return }
        log.failed(area, IngestRefusal.sentence(reply, keys: commands.keys), at: now)
    }

    private static let wrongShape = "Redis answered with something that no script of ours returns."

    // MARK: Answers of the target

    /// The target has stored a message, or says why not.
    private func postpone(_ item: IngestItem, _ why: String, at now: NIODeadline) {
        log.failed(.publishing, why, at: now)
        machine.postponed(item, at: now, using: &generator)
    }

    func published(_ item: IngestItem, _ result: Result<Void, ChannelFailure>) {
        guard !isClosed else { return }
        let now = eventLoop.now
        switch result {
        case .success:
            metrics.count(.published)
            if let age = item.age { metrics.stored(after: age + (now - item.takenAt)) }
            machine.finished(item, at: now)
            if !machine.isDelayed { log.works(.publishing) }
        // Its key keeps what may have been published from being published twice.
        case .failure(.unavailable(let why)), .failure(.unknown(let why)):
            postpone(item, why, at: now)
        case .failure(.tooFewReplicas):
            postpone(item, "Fewer replicas than CLUSTER_MIN_REPLICAS have the message.", at: now)
        case .failure(let failure):
            metrics.count(.refused)
            log.skipped(item.id, "The channel could not take it (\(failure)).", at: now)
            machine.finished(item, at: now)
        }
        pump()
    }
}
