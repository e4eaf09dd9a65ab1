public import Logging
import NIOCore
import NIOPosix
public import RedisClient
public import SidecarCore

/// Redis as the engine between nodes. It has a thread of its own, so that nothing about it delays a client.
public final class RedisEngine: ClusterEngine {
    private let configuration: RedisConfiguration
    private let settings: ClusterNodeSettings
    private let rules: ChannelRules
    private let unixMilliseconds: @Sendable () -> Int64
    private let logger: Logger
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let link = ClusterLink()
    let front: BrokerBox
    private let redisUsers: RedisUsers
    private let redisBans: RedisBans

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
        front = BrokerBox()
        directory = RedisDirectory(front: front)
        let (front, eventLoop) = (front, group.next())
        redisUsers = RedisUsers(on: eventLoop) { front.broker?.nodeOnLoop?.users }
        redisBans = RedisBans(on: eventLoop) { front.broker?.nodeOnLoop?.bans }
    }

    /// See ``ClusterEngine``.
    public let directory: any ConnectionRegister
    /// See ``ClusterEngine``.
    public var users: any ClusterUsers { redisUsers }
    /// See ``ClusterEngine``.
    public var bans: any ClusterBans { redisBans }

    /// See ``ClusterEngine``.
    public func makeBroker(events: any ChannelBrokerEvents) -> any ChannelBroker {
        let made = RedisChannelBroker(
            configuration,
            settings: settings,
            rules: rules,
            events: events,
            unixMilliseconds: unixMilliseconds,
            link: link,
            on: group.next(),
            logger: logger
        )
        front.broker = made
        return made
    }

    /// See ``ClusterEngine``.
    public func start(_ node: any ClusterNode) {
        link.node = node
        front.broker?.start()
    }

    /// See ``ClusterEngine``.
    public func stop() async {
        redisUsers.stop()
        redisBans.stop()
        await front.broker?.stop()
        link.node = nil
        try? await group.shutdownGracefully()
    }

    /// See ``ClusterEngine``.
    public var nodeID: NodeID { front.broker?.nodeID ?? "" }

    /// See ``ClusterEngine``.
    public var status: ClusterStatus {
        let broker = front.broker
        return ClusterStatus(kind: "redis", isUp: broker?.isUp ?? false, nodes: broker?.nodeCount ?? 0)
    }
}
