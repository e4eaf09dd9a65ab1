import NIOCore

@testable import SidecarCore

/// Answers every call with the same few values, or with a failure.
struct FakeOperator: ConnectionOperator {
    /// 2026-11-23T10:00:00.123Z.
    static let time: Int64 = 1_795_428_000_123
    static let counts = DeliveryCounts(matched: 3, queued: 2, dropped: 1)
    static let position = ChannelPosition(
        offset: .max,
        epoch: ChannelEpoch(UInt64("k3f9x2", radix: 36) ?? 0),
        mark: .process(epoch: 0, sequence: 0)
    )

    var failure: OperatorFailure?
    var isNewBan = true

    static func connection(user: UserName? = nil, subject: String = "/ws/chat?room=1") -> ConnectionInfo {
        ConnectionInfo(
            id: "Zk3mQ0b7",
            user: user,
            address: "192.0.2.1",
            subject: subject,
            openedAt: time,
            messagesIn: 3,
            messagesOut: 4,
            pendingBytes: 5,
            channels: ["room:1", #"a\b"#].compactMap { ChannelName($0) }
        )
    }

    static func ban(reason: String = "scraper") -> BanInfo {
        BanInfo(subject: .user("eve"), expiresAt: time, reason: reason)
    }

    static func summary(of channel: ChannelName) -> ChannelSummary {
        ChannelSummary(ChannelHead(channel: channel, position: position), connections: 2)
    }

    private func answer<Answer>(_ answer: Answer) throws(OperatorFailure) -> Answer {
        if let failure { throw failure }
        return answer
    }

    func connections(
        _ filter: ConnectionFilter,
        after: String?,
        limit: Int
    ) async throws(OperatorFailure) -> ConnectionPage {
        try answer(ConnectionPage(connections: [Self.connection()], next: nil))
    }

    func connection(_ id: String) async throws(OperatorFailure) -> ConnectionInfo { try answer(Self.connection()) }

    func send(
        _ message: DirectMessage,
        to id: String,
        idempotencyKey key: String?
    ) async throws(OperatorFailure) -> DeliveryCounts {
        try answer(Self.counts)
    }

    func send(
        _ message: DirectMessage,
        toUser user: UserName,
        idempotencyKey key: String?
    ) async throws(OperatorFailure) -> DeliveryCounts {
        try answer(Self.counts)
    }

    func publish(
        _ publication: Publication,
        excluding id: String?,
        waitsForKernel: Bool,
        idempotencyKey key: String?
    ) async throws(OperatorFailure) -> PublicationReceipt {
        try answer(PublicationReceipt(position: Self.position, counts: Self.counts))
    }

    func publish(_ list: [ListedPublication]) async -> [Result<PublicationReceipt, OperatorFailure>] {
        list.map { _ in
            failure.map { .failure($0) } ?? .success(PublicationReceipt(position: Self.position, counts: Self.counts))
        }
    }

    func nodes() async throws(OperatorFailure) -> ClusterInfo {
        try answer(
            ClusterInfo(
                engine: ClusterStatus(kind: "memory", isUp: true),
                nodes: [
                    NodeInfo(
                        name: "web-1",
                        version: "1.0",
                        startedAt: Self.time,
                        connections: 3,
                        channels: 2,
                        leaseMilliseconds: 10_000
                    )
                ]
            )
        )
    }

    func subscribe(_ id: String, to channel: ChannelName) async throws(OperatorFailure) { try answer(()) }

    func unsubscribe(_ id: String, from channel: ChannelName) async throws(OperatorFailure) { try answer(()) }

    func channel(
        _ name: ChannelName,
        usersAfter user: UserName?,
        limit: Int
    ) async throws(OperatorFailure) -> ChannelInfo {
        try answer(ChannelInfo(summary: Self.summary(of: name), users: ["bob"]))
    }

    func channels(prefix: String, after: String?, limit: Int) async throws(OperatorFailure) -> ChannelPage {
        let names = ["one", "three", "two"].compactMap { ChannelName($0) }
        return try answer(ChannelPage(channels: names.prefix(limit).map(Self.summary)))
    }

    func history(
        of channel: ChannelName,
        _ part: HistoryPart,
        epoch: String?,
        limit: Int
    ) async throws(OperatorFailure) -> ChannelHistory {
        try answer(ChannelHistory(epoch: Self.position.epoch, messages: []))
    }

    func close(_ id: String, _ request: CloseRequest) async throws(OperatorFailure) { try answer(()) }

    func closeConnections(ofUser user: UserName, _ request: CloseRequest) async throws(OperatorFailure) -> Int {
        try answer(2)
    }

    func renewToken(_ token: String, of id: String) async throws(OperatorFailure) { try answer(()) }

    func ban(_ subject: BanSubject, for ttl: TimeAmount, reason: String) async throws(OperatorFailure) -> BanReceipt {
        try answer(BanReceipt(ban: Self.ban(reason: reason), isNew: isNewBan))
    }

    func unban(_ subject: BanSubject) async throws(OperatorFailure) { try answer(()) }

    func ban(of subject: BanSubject) async throws(OperatorFailure) -> BanInfo { try answer(Self.ban()) }

    func bans() async throws(OperatorFailure) -> [BanInfo] { try answer([Self.ban()]) }
}
