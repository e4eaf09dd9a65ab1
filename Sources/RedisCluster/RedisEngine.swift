public import Logging
import NIOCore
import NIOPosix
public import RedisClient
public import SidecarCore
import Synchronization

/// Redis as the engine between nodes. It has a thread of its own, so that nothing about it delays a client.
public final class RedisEngine: ClusterEngine {
    private let configuration: RedisConfiguration
    private let settings: ClusterNodeSettings
    private let rules: ChannelRules
    private let unixMilliseconds: @Sendable () -> Int64
    private let logger: Logger
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let broker = Mutex<RedisChannelBroker?>(nil)
    /// What the others are told of this node.
    private let describe = Mutex<@Sendable () -> NodeInfo>({ .unknown })

    /// An engine that is not connected yet.
    ///
    /// - Parameter unixMilliseconds: The wall clock.
    public init(
        _ configuration: RedisConfiguration,
        settings: ClusterNodeSettings,
        rules: ChannelRules,
        unixMilliseconds: @escaping @Sendable () -> Int64,
        logger: Logger
    ) {
        self.configuration = configuration
        self.settings = settings
        self.rules = rules
        self.unixMilliseconds = unixMilliseconds
        self.logger = logger
    }

    /// See ``ClusterEngine``.
    public func makeBroker(events: any ChannelBrokerEvents) -> any ChannelBroker {
        let made = RedisChannelBroker(
            configuration,
            settings: settings,
            rules: rules,
            events: events,
            unixMilliseconds: unixMilliseconds,
            describe: { [weak self] in self?.describe.withLock { $0 }() ?? .unknown },
            on: group.next(),
            logger: logger
        )
        broker.withLock { $0 = made }
        return made
    }

    /// See ``ClusterEngine``.
    public func start(describe: @escaping @Sendable () -> NodeInfo) {
        self.describe.withLock { $0 = describe }
        broker.withLock { $0 }?.start()
    }

    /// See ``ClusterEngine``.
    public func stop() async {
        await broker.withLock { $0 }?.stop()
        try? await group.shutdownGracefully()
    }

    /// See ``ClusterEngine``.
    public func nodes() async -> [NodeInfo] { await broker.withLock { $0 }?.nodes() ?? [] }

    /// See ``ClusterEngine``.
    public var status: ClusterStatus {
        let broker = broker.withLock { $0 }
        return ClusterStatus(kind: "redis", isUp: broker?.isUp ?? false, nodes: broker?.nodeCount ?? 0)
    }
}

extension NodeInfo {
    /// A node that has not told anything yet.
    fileprivate static let unknown = NodeInfo(
        name: "",
        version: "",
        startedAt: 0,
        connections: 0,
        channels: 0,
        leaseMilliseconds: 0
    )
}
