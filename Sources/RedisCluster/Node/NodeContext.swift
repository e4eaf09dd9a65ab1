import Logging
public import NIOCore
import RedisClient
public import SidecarCore

/// What the parts of a node share on its event loop.
final class NodeContext {
    let eventLoop: any EventLoop
    let client: RedisClient
    /// What publishes. With `CLUSTER_MIN_REPLICAS` it has connections of its own, since it waits for replicas there.
    let publishingClient: RedisClient
    let keys: ClusterKeys
    let settings: ClusterNodeSettings
    let rules: ChannelRules
    let events: any ChannelBrokerEvents
    let metrics: ClusterMetrics
    let clock: EngineClock
    /// Random; identifies this run of the node, until the others take it for lost: then it gets a new one.
    var incarnation: NodeID
    /// Whether the node is in the list of nodes, so that others clear up after it.
    var isListed = true
    /// The first of them, by which the engine knows what this run has published.
    let publisher: NodeID
    /// Where the node itself is found.
    let link: ClusterLink
    /// Encrypts what is sent to other nodes and stored for them.
    let seal: ClusterSeal
    /// Whether the engine is a Redis Cluster, where a command may touch keys of one slot only.
    let isSharded: Bool
    private let logger: Logger
    /// For each message, of which there are a few.
    private var lines: [String: LineAllowance] = [:]

    init(
        eventLoop: any EventLoop,
        client: RedisClient,
        publishingClient: RedisClient,
        settings: ClusterNodeSettings,
        rules: ChannelRules,
        events: any ChannelBrokerEvents,
        metrics: ClusterMetrics,
        clock: EngineClock,
        incarnation: NodeID,
        link: ClusterLink = ClusterLink(),
        isSharded: Bool,
        logger: Logger
    ) {
        self.eventLoop = eventLoop
        self.client = client
        self.publishingClient = publishingClient
        self.keys = ClusterKeys(prefix: settings.prefix)
        self.settings = settings
        self.rules = rules
        self.events = events
        self.metrics = metrics
        self.clock = clock
        self.incarnation = incarnation
        publisher = incarnation
        self.link = link
        seal = ClusterSeal(settings.secrets)
        self.isSharded = isSharded
        self.logger = logger
    }

    /// Writes a line that the engine or other nodes can cause at will, unless there have been too many.
    ///
    /// - Parameter perMinute: The most lines with this message in a minute.
    func warn(
        _ message: Logger.Message,
        _ metadata: @autoclosure () -> Logger.Metadata,
        perMinute: Int = LineAllowance.perMinute
    ) {
        guard let leftOut = lines["\(message)", default: LineAllowance(perMinute)].take(at: .now()) else { return }
        var fields = metadata()
        if leftOut > 0 { fields["left_out"] = .stringConvertible(leftOut) }
        logger.warning(message, metadata: fields)
    }

    /// Writes a line about a change that is as it should be.
    func note(_ message: Logger.Message, _ metadata: Logger.Metadata) { logger.notice(message, metadata: metadata) }

    /// Writes a line about something that somebody has to mend.
    func complain(_ message: Logger.Message, _ metadata: Logger.Metadata) {
        logger.error(message, metadata: metadata)
    }

    /// The most lines in a minute about something that fails again and again for the same reason.
    static let fewLines = 6

    /// How long the head of a channel is kept, in milliseconds: 24 h beyond the last refresh, and beyond its history.
    func keepTime(of channel: ChannelName) -> Int64 {
        3 * Self.halfDay + rules.historyTTL(of: channel).nanoseconds / 1_000_000
    }

    /// How often the heads of subscribed channels are refreshed.
    static let refreshInterval = TimeAmount.hours(12)
    private static let halfDay: Int64 = 43_200_000
}

/// What a node needs of the settings.
public struct ClusterNodeSettings: Sendable {
    /// `CLUSTER_PREFIX`.
    public var prefix: String
    /// `NODE_NAME`.
    public var nodeName: String
    /// The longest that a caller waits for the engine (`CLUSTER_TIMEOUT`).
    public var timeout: TimeAmount
    /// After how long without a sign of life a node is lost (`CLUSTER_LEASE`).
    public var lease: TimeAmount
    /// How many replicas must have a publication (`CLUSTER_MIN_REPLICAS`).
    public var minReplicas: Int
    /// The longest that publications of replies wait for the engine (`WEBHOOK_RETRY_FOR`).
    public var replyTimeout: TimeAmount
    /// What may wait for the engine, in bytes (`MAX_TOTAL_PENDING_BYTES`).
    public var maxWaitingBytes: Int
    /// How often the engine's counters are compared, to notice losses that nothing else shows.
    public var countInterval = TimeAmount.seconds(10)
    /// How many publications that the engine has lost may wait until their subscribers can be told.
    public var maxUntoldLosses = 65_536
    /// What may be kept of recent messages, in bytes (`MAX_HISTORY_BYTES`).
    public var maxRecentBytes: Int
    /// Over how long the close events of a lost node's connections are spread at most; a drain takes as long.
    public var closeSpan: TimeAmount
    /// What nodes authenticate and encrypt with (`CLUSTER_SECRET`); nil for nothing.
    public var secrets: ClusterSecrets?
    /// Whether the app is told which channels have subscribers (`CHANNEL_EVENTS`).
    public var channelEvents: Bool
    /// Whether the rate of a user's messages is limited, and so shared between nodes (`MESSAGE_RATE_PER_USER`).
    public var sharesUserRates: Bool

    /// What the settings say.
    ///
    /// - Parameter nodeName: `NODE_NAME`, or the host's name.
    public init(_ settings: Settings, nodeName: String) {
        prefix = settings.clusterPrefix
        self.nodeName = nodeName
        timeout = settings.clusterTimeout
        lease = settings.clusterLease
        minReplicas = settings.clusterMinReplicas
        replyTimeout = settings.webhookRetryFor
        maxWaitingBytes = settings.maxTotalPendingBytes
        maxRecentBytes = settings.maxHistoryBytes
        closeSpan = .nanoseconds(settings.drainTimeout.nanoseconds / 5 * 4)
        channelEvents = settings.channelEvents
        secrets = settings.clusterSecrets
        sharesUserRates = settings.messageRatePerUser != nil
    }
}
