import NIOCore
public import SidecarCore
import Synchronization

extension EdgeService {
    /// What the API does with the connections of this process.
    public var connections: any ConnectionOperator { EdgeOperator(edge: self) }
}

/// Asks the event loops, each for its own sessions, and gathers the answers.
struct EdgeOperator: ConnectionOperator {
    let edge: EdgeService

    private var admission: AdmissionGuard { edge.live.withLock { $0.admission } }
    private var shards: ShardDirectory? { edge.live.withLock { $0.shards } }
    private var directory: LoopDirectory? { shards.map { LoopDirectory(shards: $0) } }

    func connections(_ filter: ConnectionFilter, after: String?, limit: Int) async -> ConnectionPage {
        let wanted = filter.address.map { "\($0)" }
        let now = WallClock.unixMilliseconds()
        let found = await shards?.collect { shard in
            let sessions = shard.sessions {
                $0.isRunning && (filter.user == nil || $0.user == filter.user)
                    && (wanted == nil || $0.clientAddress == wanted)
                    && filter.channel.map($0.isIn) ?? true
                    && $0.id > after ?? ""
            }
            // One more than asked for tells whether there are more.
            return sessions.sorted { $0.id < $1.id }.prefix(limit + 1)
                .compactMap { $0.info(at: .now(), unixMilliseconds: now) }
        }
        let sorted = (found ?? []).flatMap { $0 }.sorted { $0.id < $1.id }
        let page = Array(sorted.prefix(limit))
        return ConnectionPage(connections: page, next: sorted.count > limit ? page.last?.id : nil)
    }

    func connection(_ id: String) async -> ConnectionInfo? {
        let now = WallClock.unixMilliseconds()
        return await ask(id) { $0.info(at: .now(), unixMilliseconds: now) }
    }

    func send(_ message: DirectMessage, to id: String) async -> DeliveryCounts? {
        let counts = await send(message) { shard in
            shard.session(id).flatMap { $0.isRunning ? [$0] : nil } ?? []
        }
        return counts.matched > 0 ? counts : nil
    }

    func send(_ message: DirectMessage, toUser user: UserName) async -> DeliveryCounts {
        await send(message) { shard in shard.sessions { $0.user == user } }
    }

    /// Sends to some sessions of each loop, and waits for the kernel as a publication does.
    private func send(
        _ message: DirectMessage,
        to sessions: @escaping @Sendable (LoopShard) -> [BridgeSession]
    ) async -> DeliveryCounts {
        let shared = PreparedMessage(message.format, message.payload, event: message.event)
        let tally = PublicationTally(waitsForKernel: message.waitsForKernel)
        // A loop that has ended is not asked, and does not report.
        let asked = await shards?.collect { shard in
            shard.channels.deliver(shared, to: sessions(shard), tally)
            return true
        }
        tally.begins(loops: asked?.count ?? 0)
        let (_, counts) = await tally.result()
        return DeliveryCounts(matched: counts.matched, queued: counts.queued, dropped: counts.dropped)
    }

    // MARK: Channels

    private var hub: ChannelHub { edge.state.channels }

    func publish(
        _ publication: Publication,
        excluding id: String?,
        waitsForKernel: Bool
    ) async throws(ChannelFailure) -> PublicationReceipt {
        let tally = PublicationTally(waitsForKernel: waitsForKernel)
        hub.publish(publication, excluding: id, from: .api, tally: tally)
        let (result, counts) = await tally.result()
        return PublicationReceipt(
            position: try result.get(),
            counts: DeliveryCounts(matched: counts.matched, queued: counts.queued, dropped: counts.dropped)
        )
    }

    func subscribe(_ id: String, to channel: ChannelName) async -> SubscriptionAnswer {
        await ask(id) { session in
            guard session.isRunning else { return nil }
            return session.joinByOperator(channel) ? .subscribed : .tooMany
        } ?? .noConnection
    }

    func unsubscribe(_ id: String, from channel: ChannelName) async -> Bool {
        await ask(id) { session in
            guard session.isRunning else { return nil }
            session.shard.channels.leave(session, channel)
            return true
        } ?? false
    }

    func channel(_ name: ChannelName) async throws(ChannelFailure) -> (ChannelSummary, users: [UserName]) {
        let summary = try await hub.broker.summary(of: name, now: AdmissionGuard.now())
        let users = await shards?.collect { $0.channels.users(of: name) } ?? []
        return (summary, users.reduce(into: Set()) { $0.formUnion($1) }.sorted())
    }

    func channels(prefix: String, after: String?, limit: Int) async throws(ChannelFailure) -> [ChannelSummary] {
        try await hub.broker.channels(prefix: prefix, after: after, limit: limit, now: AdmissionGuard.now())
    }

    func history(
        of channel: ChannelName,
        _ part: HistoryPart,
        epoch: String?,
        limit: Int
    ) async throws(ChannelFailure) -> ChannelHistory {
        try await hub.broker.history(of: channel, part, epoch: epoch, limit: limit, now: AdmissionGuard.now())
    }

    // MARK: Ends

    func close(_ id: String, _ request: CloseRequest) async -> Bool {
        await ask(id) { session in
            guard session.isRunning else { return false }
            session.close(code: request.code, reason: request.reason, discarding: true, for: .kick)
            return true
        } ?? false
    }

    func closeConnections(ofUser user: UserName, _ request: CloseRequest) async -> Int {
        let loops = Set(await directory?.connections(of: user).map(\.loop) ?? [])
        return await closeConnections(request, for: .kick, on: loops) { $0.user == user }
    }

    func renewToken(_ token: String, of id: String) async -> TokenRenewal {
        await ask(id) { $0.renewed(with: token) } ?? .noConnection
    }

    func ban(
        _ subject: BanSubject,
        for ttl: TimeAmount,
        reason: String
    ) async -> (addition: BanTable.Addition, ban: BanInfo) {
        let (addition, ban) = admission.bans.add(subject, for: ttl, reason: reason)
        if addition != .full { await closeConnections(coveredBy: subject) }
        return (addition, ban)
    }

    func unban(_ subject: BanSubject) -> Bool {
        admission.forgive(subject)
        return admission.bans.remove(subject)
    }

    func ban(of subject: BanSubject) -> BanInfo? { admission.bans.info(of: subject) }
    func bans() -> [BanInfo] { admission.bans.list() }

    /// Closes whoever is banned now.
    func closeConnections(coveredBy subject: BanSubject) async {
        _ = await closeConnections(.banned, for: .ban) { session in
            switch subject {
            case .user(let user): session.user == user
            case .network(let network): IPAddress(session.clientAddress).map(network.contains) ?? false
            }
        }
    }

    private func closeConnections(
        _ request: CloseRequest,
        for cause: CloseCause,
        on loops: Set<Int>? = nil,
        where isWanted: @escaping @Sendable (BridgeSession) -> Bool
    ) async -> Int {
        let counts = await shards?.collect(on: loops) { shard in
            let sessions = shard.sessions(where: isWanted)
            for session in sessions {
                session.close(code: request.code, reason: request.reason, discarding: true, for: cause)
            }
            return sessions.count
        }
        return (counts ?? []).reduce(0, +)
    }

    /// Asks the session of this name, on its own loop.
    private func ask<Answer: Sendable>(
        _ id: String,
        _ body: @escaping @Sendable (BridgeSession) -> Answer?
    ) async -> Answer? {
        guard let place = await directory?.connection(id) else { return nil }
        let answers = await shards?.collect(on: [place.loop]) { $0.session(id).flatMap(body) }
        return answers?.compactMap { $0 }.first
    }
}
