import Logging
import NIOCore

/// The subscriptions at one master: the book, the connection that it is carried out on, and who is told.
final class ShardSubscriptions {
    /// What was refused because slots move is tried again after this; mostly it has moved on before.
    static var pauseAfterRedirect: TimeAmount { .milliseconds(200) }
    /// What was refused for another reason, such as an ACL, is tried again after this.
    static var pauseAfterRefusal: TimeAmount { .seconds(5) }

    private let context: RedisContext
    weak var shard: RedisShard?
    private var book = SubscriptionBook()
    private weak var connection: RedisConnection?
    private var sendIsScheduled = false
    /// Subscriptions that the server has ended, to be told of in one call.
    private var revokedNow: [RedisChannel] = []
    /// Channels that are wanted again before the server was told that they were not.
    private var keptNow: Set<RedisChannel> = []
    private var hasNews = false
    private var toRetry: [RedisChannel] = []
    private var retryTimer: LoopTimer?
    private var toldOfRefusal = false

    init(context: RedisContext) {
        self.context = context
        retryTimer = LoopTimer(eventLoop: context.eventLoop) { [weak self] in self?.retry() }
    }

    /// All channels that are wanted here.
    var wanted: [RedisChannel] { book.wanted }
    /// True when no channel is wanted here.
    var isEmpty: Bool { book.isEmpty }

    // MARK: Wishes

    /// The channel is wanted here.
    func want(_ channel: RedisChannel, slot: Int) {
        if book.want(channel, group: slot) { keptNow.insert(channel) }
        scheduleSending()
    }

    /// The channel is no longer wanted here; says whether it was subscribed.
    @discardableResult
    func unwant(_ channel: RedisChannel) -> Bool {
        let wasSubscribed = book.unwant(channel)
        scheduleSending()
        return wasSubscribed
    }

    // MARK: The connection

    func connectionUp(_ connection: RedisConnection, isSharded: Bool) {
        self.connection = connection
        toldOfRefusal = false
        book.connected(isSharded: isSharded)
        send()
    }

    func connectionLost() {
        connection = nil
        keptNow = []
        retryTimer?.cancel()
        toRetry = []
        let interrupted = book.disconnected()
        revokedNow.append(contentsOf: interrupted)
        tellOfRevoked()
    }

    private func scheduleSending() {
        guard !sendIsScheduled, connection != nil else { return }
        sendIsScheduled = true
        context.later { [weak self] in
            self?.sendIsScheduled = false
            self?.send()
            self?.tellOfKept()
        }
    }

    private func tellOfKept() {
        let channels = keptNow
        keptNow = []
        for channel in channels where book.isSubscribed(channel) { context.delegate?.redisSubscribed(channel) }
        if !channels.isEmpty { context.delegate?.redisReceiveComplete() }
    }

    private func send() {
        guard let connection else { return }
        while let batch = book.nextBatch() { connection.send(batch) }
    }

    private func retry() {
        let channels = toRetry
        toRetry = []
        book.retry(channels)
        send()
    }

    // MARK: What the server says

    func received(_ payload: ByteBuffer, on channel: RedisChannel) {
        guard book.wants(channel) else { return }
        hasNews = true
        context.delegate?.redisReceived(channel, payload)
    }

    func confirmed(_ channel: RedisChannel, _ kind: SubscriptionKind) {
        if book.confirmed(channel, subscribes: kind.subscribes) == .subscribed {
            tellOfRevoked()
            hasNews = true
            context.delegate?.redisSubscribed(channel)
        }
    }

    func completed() {
        book.batchEnded()
        send()
    }

    func refused(_ channels: [RedisChannel], _ kind: SubscriptionKind, _ reply: RedisErrorReply, isRedirect: Bool) {
        book.batchEnded()
        book.refused(channels, subscribes: kind.subscribes)
        if !isRedirect, !toldOfRefusal {
            toldOfRefusal = true
            context.logger.warning("Redis refused a subscription, which is tried again: \(reply.sentence)")
        }
        if kind.subscribes {
            retryLater(channels, isRedirect ? Self.pauseAfterRedirect : Self.pauseAfterRefusal)
        }
        send()
    }

    func revoked(_ channel: RedisChannel) {
        guard book.wants(channel) else {
            _ = book.revoked(channel)
            return
        }
        if book.revoked(channel) { revokedNow.append(channel) }
        retryLater([channel], Self.pauseAfterRedirect)
    }

    private func retryLater(_ channels: [RedisChannel], _ pause: TimeAmount) {
        toRetry.append(contentsOf: channels)
        retryTimer?.setNoLater(than: context.eventLoop.now + pause)
    }

    func readComplete() {
        if !revokedNow.isEmpty {
            tellOfRevoked()
            shard?.owner?.subscriptionsRevoked()
        }
        guard hasNews else { return }
        hasNews = false
        context.delegate?.redisReceiveComplete()
    }

    private func tellOfRevoked() {
        guard !revokedNow.isEmpty else { return }
        let channels = revokedNow
        revokedNow = []
        context.delegate?.redisInterrupted(channels)
    }
}
