import NIOCore
import NIOPosix
import RedisClient
import SidecarCore
import Synchronization
import TestSupport
import Testing

@testable import RedisCluster

/// The parts of a node that count users and keep bans, with a client of their own, and what they tell.
final class PartNode: Sendable {
    /// What lives on the event loop.
    final class Parts: RedisClientDelegate {
        let context: NodeContext
        let users: UserCounts
        let bans: BanMirror

        init(_ context: NodeContext, _ users: UserCounts, _ bans: BanMirror) {
            (self.context, self.users, self.bans) = (context, users, bans)
        }

        func redisIsUpChanged(_ isUp: Bool, _ why: String) {
            if isUp {
                users.engineIsUp()
                bans.engineIsUp()
            } else {
                users.engineIsAway()
            }
        }
        func redisSubscribed(_ channel: RedisChannel) {
            users.subscribed(channel.name)
            bans.subscribed(channel.name)
        }
        func redisReceived(_ channel: RedisChannel, _ payload: ByteBuffer) {
            users.received(channel.name, payload)
            bans.received(channel.name, payload)
        }
        func redisConnected(_ shard: RedisShardID, server: RedisServerInfo) {}
        func redisDisconnected(_ shard: RedisShardID, _ why: String) {}
        func redisIdentityChanged(_ shard: RedisShardID) {}
        func redisInterrupted(_ channels: [RedisChannel]) {}
        func redisReceiveComplete() {}
        func redisProbed(_ seconds: TimeAmount) {}
        func redisReconnecting(_ shard: RedisShardID?) {}
    }

    /// What the parts have told.
    struct Told: Sendable {
        var shares: [UserName: [Int]] = [:]
        var bans: [[ClusterBan]] = []
    }

    let incarnation = "\(UInt64.random(in: 1 ... .max))"
    let users: RedisUsers
    let bans: RedisBans
    private let eventLoop: any EventLoop
    private let parts: NIOLoopBoundBox<Parts?>
    private let state = Mutex(Told())
    private let nodes: Mutex<Int>

    /// A node that has connected.
    ///
    /// - Parameters:
    ///   - nodes: How many nodes it believes there are.
    ///   - secret: Bans are sealed with it; without one they are not.
    init(
        _ server: RedisProcess,
        prefix: String,
        nodes: Int = 1,
        sharesRates: Bool = false,
        secret: String? = nil,
        isCluster: Bool = false
    ) async throws {
        var settings = ClusterNodeSettings.test
        settings.prefix = prefix
        let address = RedisAddress(host: "127.0.0.1", port: server.port)
        var configuration = RedisConfiguration(topology: isCluster ? .cluster([address]) : .standalone(address))
        configuration.backoff = .milliseconds(10) ... .milliseconds(100)
        let eventLoop = MultiThreadedEventLoopGroup.singleton.any()
        self.eventLoop = eventLoop
        let box = NIOLoopBoundBox.makeEmptyBox(valueType: Parts.self, eventLoop: eventLoop)
        parts = box
        self.nodes = Mutex(nodes)
        users = RedisUsers(on: eventLoop) { box.value?.users }
        bans = RedisBans(on: eventLoop) { box.value?.bans }
        eventLoop.execute { [self, settings, configuration] in
            let client = RedisClient(configuration, eventLoop: eventLoop, logger: .silent)
            let context = NodeContext(
                eventLoop: eventLoop,
                client: client,
                publishingClient: client,
                settings: settings,
                rules: ChannelRules(Settings(app: .tcp(host: "127.0.0.1", port: 9, tls: false))),
                events: BrokerEventRecorder(),
                metrics: ClusterMetrics(),
                clock: EngineClock(unixMilliseconds: TestClock.unixMilliseconds),
                incarnation: incarnation,
                link: .test(),
                isSharded: isCluster,
                logger: .silent
            )
            let counts = UserCounts(
                context,
                sharesRates: sharesRates,
                numberOfNodes: { [weak self] in self?.nodes.withLock { $0 } ?? 1 },
                onShare: { [weak self] user, share in
                    self?.state.withLock { $0.shares[user, default: []].append(share) }
                }
            )
            let mirror = BanMirror(
                context,
                seal: { Self.seal($0, $1, secret) },
                open: { Self.open($0, $1, secret) },
                onChange: { [weak self] bans in self?.state.withLock { $0.bans.append(bans) } }
            )
            let parts = Parts(context, counts, mirror)
            client.delegate = parts
            box.value = parts
            client.start()
            client.subscribe((counts.topics + mirror.topics).map { RedisChannel(name: $0) })
        }
        let isUp = await eventually(matching: { await self.ask { $0.context.client.isUp } == true })
        try #require(isUp)
    }

    deinit {
        eventLoop.execute { [parts] in
            parts.value?.context.client.close()
            parts.value = nil
        }
    }

    /// A stand-in for encryption: the secret and what it is about stand before the text.
    static func seal(_ bytes: ByteBuffer, _ context: String, _ secret: String?) -> ByteBuffer {
        guard let secret else { return bytes }
        return ByteBuffer(string: secret + context + ":" + String(buffer: bytes))
    }

    static func open(_ bytes: ByteBuffer, _ context: String, _ secret: String?) -> ByteBuffer? {
        guard let secret else { return bytes }
        let (text, mark) = (String(buffer: bytes), secret + context + ":")
        return text.hasPrefix(mark) ? ByteBuffer(string: String(text.dropFirst(mark.count))) : nil
    }

    /// Runs something on the event loop.
    func ask<Answer: Sendable>(_ body: @escaping @Sendable (Parts) -> Answer) async -> Answer? {
        await withCheckedContinuation { continuation in
            eventLoop.execute { [parts] in continuation.resume(returning: parts.value.map(body)) }
        }
    }

    func setNodes(_ count: Int) { nodes.withLock { $0 = count } }
    var told: Told { state.withLock { $0 } }
    func forgetTold() { state.withLock { $0 = Told() } }

    // MARK: Users

    func open(_ user: UserName, limit: Int) async throws -> Bool {
        try await answer { completion in users.open(user, limit: limit) { completion($0) } }
    }

    /// Opens so many at once; tells how many were granted.
    func open(_ user: UserName, times: Int, limit: Int) async throws -> Int {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<times { group.addTask { try await self.open(user, limit: limit) } }
            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
    }

    func count(_ user: UserName) async -> Int { await ask { $0.users.count(of: user) } ?? -1 }
    /// See ``UserCounts/sizes``.
    var sizes: [Int] { get async { await ask { $0.users.sizes } ?? [] } }

    func clear(_ incarnation: String) async throws -> Bool {
        try await answer { completion in
            eventLoop.execute { [parts] in parts.value?.users.clear(incarnation) { completion($0) } }
        }
    }

    // MARK: Bans

    @discardableResult
    func ban(
        _ subject: BanSubject,
        for rest: TimeAmount = .hours(1),
        reason: String = "test",
        isAutomatic: Bool = false
    ) async throws(StoreFailure) -> BanTable.Addition {
        let end = TestClock.unixMilliseconds() + rest.nanoseconds / 1_000_000
        return try await bans.put(
            ClusterBan(subject: subject, rest: rest, expiresAt: end, reason: reason),
            isAutomatic: isAutomatic
        )
    }

    /// Whom the bans that were told last keep out.
    var banned: Set<BanSubject> { Set(told.bans.last?.map(\.subject) ?? []) }
}

/// Waits until something has become true; false when that takes too long.
func eventually(within patience: Duration = .seconds(10), matching isTrue: () async throws -> Bool) async rethrows
    -> Bool
{
    let deadline = ContinuousClock.now + patience
    while try await !isTrue() {
        guard ContinuousClock.now < deadline else { return false }
        await Task.yield()
    }
    return true
}
