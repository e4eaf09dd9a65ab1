import Logging
import NIOCore

/// Learns from Sentinels where the master is: asks one, listens to it, and takes the next when it fails.
final class SentinelWatcher: RedisLinkOwner {
    /// A Sentinel is asked so often without any reason.
    static var interval: TimeAmount { .seconds(5) }
    private static let switchMaster = RedisChannel(name: "+switch-master")

    private let context: RedisContext
    private let addresses: [RedisAddress]
    private let service: String
    private let found: (RedisAddress) -> Void
    private var current = 0
    private var failures = 0
    private var link: RedisLink?
    private var isAsking = false
    private var timer: LoopTimer?
    private var outage: OutageLog
    /// Why the master is not known; nil when nothing has gone wrong.
    private(set) var obstacle: String?

    /// - Parameter found: Called with each answer, also when it is the same as before.
    init(addresses: [RedisAddress], service: String, context: RedisContext, _ found: @escaping (RedisAddress) -> Void) {
        self.addresses = addresses
        self.service = service
        self.context = context
        self.found = found
        outage = OutageLog(logger: context.logger, name: "Redis Sentinel")
        timer = LoopTimer(eventLoop: context.eventLoop) { [weak self] in self?.ask() }
    }

    func start() {
        guard link == nil else { return }
        link = RedisLink(context: context, purpose: .sentinel, shard: nil, owner: self, traffic: self)
        link?.connectNow()
    }

    func stop() {
        timer?.cancel()
        link?.stop()
    }

    /// Asks where the master is, if a Sentinel is connected and not asked already.
    func ask() {
        guard let connection = link?.ready, !isAsking else { return }
        isAsking = true
        var command = RedisCommand("SENTINEL", ["GET-MASTER-ADDR-BY-NAME", .text(service)], slotKey: nil)
        command.followsRedirects = false
        let deadline = context.eventLoop.now + context.configuration.commandTimeout
        let request = RedisRequest(command, deadline: deadline) { [weak self, weak connection] result in
            guard let self, let connection else { return }
            self.isAsking = false
            self.answered(result, connection)
        }
        if case .accepted = connection.send(request) { return }
        isAsking = false
    }

    private func answered(_ result: Result<RESPValue, RedisFailure>, _ connection: RedisConnection) {
        timer?.setNoLater(than: context.eventLoop.now + Self.interval)
        switch result {
        case .failure(let failure):
            // The next one in turn, after a pause.
            connection.close(.network("\(connection.address) (Sentinel): \(failure.sentence)"))
        case .success(let value):
            guard let address = SentinelReply.address(value, asked: connection.address.host) else {
                connection.close(
                    .refusal("\(connection.address) (Sentinel) knows no service \"\(service)\"; look at CLUSTER_URL.")
                )
                return
            }
            failures = 0
            obstacle = nil
            outage.ended(at: context.eventLoop.now)
            found(address)
        }
    }

    // MARK: The connection

    func address(for link: RedisLink) -> RedisAddress? {
        addresses.isEmpty ? nil : addresses[current % addresses.count]
    }

    func linkReady(_ link: RedisLink, _ connection: RedisConnection, _ server: RedisServerInfo) {
        let kind = SubscriptionKind(subscribes: true, isSharded: false)
        connection.send(SubscriptionBatch(kind: kind, channels: [Self.switchMaster]))
        isAsking = false
        ask()
    }

    func linkFailed(_ link: RedisLink, _ fault: ConnectionFault, wasReady: Bool) {
        isAsking = false
        obstacle = fault.sentence
        current = (current + 1) % max(1, addresses.count)
        failures = min(failures + 1, 1_000_000)
        // One that is away is nothing to tell, as long as another one answers.
        if failures >= addresses.count { outage.began(fault, at: context.eventLoop.now) }
    }
}

extension SentinelWatcher: OwnRequestsOnly {
    func connection(_ connection: RedisConnection, received payload: ByteBuffer, on channel: RedisChannel) {
        guard channel == Self.switchMaster else { return }
        if let address = SentinelReply.switchedMaster(String(buffer: payload), service: service) { found(address) }
    }
}
