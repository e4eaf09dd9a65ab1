import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import RedisClient

/// A client on an event loop, and what it has told; everything in it is touched on the loop only.
final class ClientRig: RedisClientDelegate, @unchecked Sendable {
    enum Event: Equatable, Sendable {
        case connected(RedisShardID, RedisServerInfo)
        case disconnected(RedisShardID, String)
        case up(Bool)
        case identityChanged(RedisShardID)
        case interrupted(Int)
        case reconnecting
        case probed
    }

    let loop: any EventLoop
    let log: LogRecorder
    private(set) var client: RedisClient?
    private(set) var events: [Event] = []
    private(set) var subscribed: Set<RedisChannel> = []
    private(set) var subscribedCount = 0
    /// Subscriptions that were confirmed twice without an interruption.
    private(set) var surplus = 0
    private(set) var messages: [String] = []
    private(set) var messageCount = 0
    private(set) var receiveCompletions = 0
    /// Replies and messages in the order in which they came, where a test asks for it.
    var order: [String] = []
    private var waiters: [(condition: (ClientRig) -> Bool, promise: EventLoopPromise<Void>)] = []

    init(_ configuration: RedisConfiguration) async throws {
        loop = MultiThreadedEventLoopGroup.singleton.next()
        let log = LogRecorder()
        self.log = log
        var logger = Logger(label: "test") { _ in log }
        logger.logLevel = .debug
        let recorded = logger
        try await loop.submit {
            let client = RedisClient(configuration, eventLoop: self.loop, logger: recorded, delegate: self)
            self.client = client
            client.start()
        }.get()
    }

    /// Makes a client, waits until it is up, and closes it after the body.
    static func run<R: Sendable>(
        _ configuration: RedisConfiguration,
        waits: Bool = true,
        _ body: (ClientRig) async throws -> R
    ) async throws -> R {
        let rig = try await ClientRig(configuration)
        do {
            if waits { try await rig.until("the client is up") { $0.client?.isUp == true && $0.hasSubscribers } }
            let result = try await body(rig)
            let surplus = try await rig.current { $0.surplus }
            #expect(surplus == 0)
            try await rig.close()
            return result
        } catch {
            try await rig.close()
            throw error
        }
    }

    /// True when all shards have their connection for subscriptions.
    var hasSubscribers: Bool { client?.hasAllSubscribers ?? false }

    /// How often the client has told that it is connected to a shard.
    var connectionCount: Int { events.count { if case .connected = $0 { true } else { false } } }

    func close() async throws {
        try await loop.submit {
            self.client?.close()
            self.client = nil
        }.get()
    }

    /// Runs on the loop.
    func on<T: Sendable>(_ body: @escaping @Sendable (RedisClient) throws -> T) async throws -> T {
        try await loop.submit {
            guard let client = self.client else { throw ServerError("closed") }
            return try body(client)
        }.get()
    }

    func send(_ command: RedisCommand) async throws -> Result<RESPValue, RedisFailure> {
        let promise = loop.makePromise(of: Result<RESPValue, RedisFailure>.self)
        try await on { $0.send(command) { promise.succeed($0) } }
        return try await promise.futureResult.get()
    }

    /// Sends a command that has to succeed, however busy the machine is.
    func call(_ name: String, _ arguments: [RedisArgument] = [], key: String? = nil) async throws -> RESPValue {
        var command = RedisCommand(name, arguments, slotKey: key)
        command.timeout = .seconds(10)
        return try await send(command).get()
    }

    /// Waits until the condition holds, which is looked at after each event and, for the rest, every few milliseconds.
    func until(
        _ what: String,
        within limit: TimeAmount = .seconds(10),
        _ condition: @escaping @Sendable (ClientRig) -> Bool
    ) async throws {
        let promise = loop.makePromise(of: Void.self)
        let deadline = NIODeadline.now() + limit
        loop.execute { self.look(promise, what, deadline, condition) }
        try await promise.futureResult.get()
    }

    private func look(
        _ promise: EventLoopPromise<Void>,
        _ what: String,
        _ deadline: NIODeadline,
        _ condition: @escaping @Sendable (ClientRig) -> Bool
    ) {
        if condition(self) { return promise.succeed() }
        guard NIODeadline.now() < deadline else {
            let detail = "not within the time: \(what); events: \(events.suffix(12)); log: \(log.lines.suffix(8))"
            return promise.fail(ServerError(detail))
        }
        loop.scheduleTask(in: .milliseconds(5)) { self.look(promise, what, deadline, condition) }
    }

    func clearEvents() async throws { try await loop.submit { self.events = [] }.get() }
    func current<T: Sendable>(_ body: @escaping @Sendable (ClientRig) -> T) async throws -> T {
        try await loop.submit { body(self) }.get()
    }

    // MARK: Delegate

    func redisConnected(_ shard: RedisShardID, server: RedisServerInfo) { events.append(.connected(shard, server)) }
    func redisDisconnected(_ shard: RedisShardID, _ why: String) { events.append(.disconnected(shard, why)) }
    func redisIsUpChanged(_ isUp: Bool, _ why: String) { events.append(.up(isUp)) }
    func redisIdentityChanged(_ shard: RedisShardID) { events.append(.identityChanged(shard)) }

    func redisSubscribed(_ channel: RedisChannel) {
        subscribedCount += 1
        if !subscribed.insert(channel).inserted { surplus += 1 }
    }

    func redisInterrupted(_ channels: [RedisChannel]) {
        subscribed.subtract(channels)
        events.append(.interrupted(channels.count))
    }

    func redisReceived(_ channel: RedisChannel, _ payload: ByteBuffer) {
        messageCount += 1
        if messages.count < 20_000 { messages.append("\(channel.name):\(String(buffer: payload))") }
        order.append(String(buffer: payload))
    }

    func redisReceiveComplete() { receiveCompletions += 1 }
    func redisProbed(_ seconds: TimeAmount) { events.append(.probed) }
    func redisReconnecting(_ shard: RedisShardID?) { events.append(.reconnecting) }
}

/// Keeps what is logged.
final class LogRecorder: LogHandler, @unchecked Sendable {
    struct Line: Sendable {
        let level: Logger.Level
        let text: String
    }

    private let kept = Mutex<[Line]>([])
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level = .debug

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { nil }
        set {}
    }

    var lines: [Line] { kept.withLock { $0 } }
    /// Lines that an operator sees.
    var notable: [String] { lines.filter { $0.level > .info || $0.level == .notice }.map(\.text) }

    func log(event: LogEvent) {
        let extra = (event.metadata ?? [:]).map { " \($0.key)=\($0.value)" }.joined()
        kept.withLock { $0.append(Line(level: event.level, text: "\(event.message)\(extra)")) }
    }
}
