import NIOCore
public import SidecarCore
import Synchronization

/// Runs each operation on the event loops, each for its own sessions, and collects the results.
struct EdgeOperator: ConnectionOperator {
    let edge: EdgeService

    private var admission: AdmissionGuard { edge.live.withLock { $0.admission } }
    private var banStore: any BanStore { admission.sessions.bans }
    private var shards: ShardDirectory? { edge.shards }
    private var directory: (any ConnectionDirectory)? { shards.map { LoopDirectory(shards: $0) } }

    func connections(
        _ filter: ConnectionFilter,
        after: String?,
        limit: Int
    ) async throws(OperatorFailure) -> ConnectionPage {
        let wanted = filter.address.map { "\($0)" }
        let now = WallClock.unixMilliseconds()
        let found = await shards?.collect { shard in
            let sessions = shard.sessions.open {
                $0.isRunning && (filter.user == nil || $0.user == filter.user)
                    && (wanted == nil || $0.clientAddress == wanted)
                    && filter.channel.map($0.isIn) ?? true
                    && $0.id > after ?? ""
            }
            // One more than asked for shows whether there are more.
            return sessions.sorted { $0.id < $1.id }.prefix(limit + 1)
                .compactMap { $0.info(at: .now(), unixMilliseconds: now) }
        }
        let sorted = (found ?? []).flatMap { $0 }.sorted { $0.id < $1.id }
        let page = Array(sorted.prefix(limit))
        return ConnectionPage(connections: page, next: sorted.count > limit ? page.last?.id : nil)
    }

    func connection(_ id: String) async throws(OperatorFailure) -> ConnectionInfo {
        let now = WallClock.unixMilliseconds()
        return try await ask(id) { $0.info(at: .now(), unixMilliseconds: now) }
    }

    func send(
        _ message: DirectMessage,
        to id: String,
        idempotencyKey key: String?
    ) async throws(OperatorFailure) -> DeliveryCounts {
        let counts = await send(message) { shard in
            shard.sessions[id].flatMap { $0.isRunning ? [$0] : nil } ?? []
        }
        guard counts.matched > 0 else { throw .noConnection }
        return counts
    }

    func send(
        _ message: DirectMessage,
        toUser user: UserName,
        idempotencyKey key: String?
    ) async throws(OperatorFailure) -> DeliveryCounts {
        await send(message) { shard in shard.sessions.open { $0.user == user } }
    }

    /// Sends to some sessions of each loop, and waits for the kernel if asked to, as for a publication.
    private func send(
        _ message: DirectMessage,
        to sessions: @escaping @Sendable (LoopShard) -> [BridgeSession]
    ) async -> DeliveryCounts {
        let shared = PreparedMessage(message.format, message.payload, event: message.event)
        let tally = PublicationTally(of: shared, waitsForKernel: message.waitsForKernel)
        // A loop that has ended is not asked, and does not report.
        let asked = await shards?.collect { shard in
            shard.channels.deliver(tally, to: sessions(shard))
            return true
        }
        tally.sent(toLoops: asked?.count ?? 0)
        let (_, counts) = await tally.result()
        return DeliveryCounts(matched: counts.matched, queued: counts.queued, dropped: counts.dropped)
    }

    // MARK: Channels

    private var fanout: ChannelFanout { edge.state.channels }

    func publish(
        _ publication: Publication,
        excluding id: String?,
        waitsForKernel: Bool,
        idempotencyKey key: String?
    ) async throws(OperatorFailure) -> PublicationReceipt {
        try await publish(publication, excluding: id, waitsForKernel: waitsForKernel, idempotencyKey: key, report: nil)
    }

    /// - Parameter report: Under which name the other nodes are to tell this one who got it; nil for not at all.
    func publish(
        _ publication: Publication,
        excluding id: String?,
        waitsForKernel: Bool,
        idempotencyKey key: String?,
        report: String?
    ) async throws(OperatorFailure) -> PublicationReceipt {
        let tally = fanout.begin(
            publication,
            excluding: id,
            waitsForKernel: waitsForKernel,
            idempotencyKey: key,
            report: report
        )
        return try await receipt(of: tally).get()
    }

    func publish(_ list: [ListedPublication]) async -> [Result<PublicationReceipt, OperatorFailure>] {
        await publish(list, reports: list.map { _ in nil })
    }

    /// - Parameter reports: For each, under which name the other nodes are to tell this one who got it.
    func publish(
        _ list: [ListedPublication],
        reports: [String?]
    ) async -> [Result<PublicationReceipt, OperatorFailure>] {
        let tallies = zip(list, reports).map { one, report in
            fanout.begin(
                one.publication,
                excluding: one.excluded,
                waitsForKernel: one.waitsForKernel,
                idempotencyKey: one.idempotencyKey,
                report: report
            )
        }
        var results: [Result<PublicationReceipt, OperatorFailure>] = []
        for tally in tallies { results.append(await receipt(of: tally)) }
        return results
    }

    private func receipt(of tally: PublicationTally) async -> Result<PublicationReceipt, OperatorFailure> {
        let (result, counts) = await tally.result()
        return result.mapError(OperatorFailure.init).map { position in
            PublicationReceipt(
                position: position,
                counts: DeliveryCounts(matched: counts.matched, queued: counts.queued, dropped: counts.dropped),
                scope: edge.state.engine == nil ? nil : .node
            )
        }
    }

    func subscribe(_ id: String, to channel: ChannelName) async throws(OperatorFailure) {
        let isIn = try await ask(id) { $0.isRunning ? $0.joinByOperator(channel) : nil }
        guard isIn else { throw .tooManyChannels }
        // What is published after the answer is received; while the engine is away, the subscription is pending.
        let fanout = fanout
        guard fanout.broker.ordersEachChannel else { return }
        await withCheckedContinuation { continuation in
            fanout.hold(channel) { continuation.resume() }
        }
        fanout.release(channel)
    }

    func unsubscribe(_ id: String, from channel: ChannelName) async throws(OperatorFailure) {
        try await ask(id) { session -> Void? in
            guard session.isRunning else { return nil }
            return session.context.channels.leave(session, channel)
        }
    }

    func channel(
        _ name: ChannelName,
        usersAfter user: UserName?,
        limit: Int
    ) async throws(OperatorFailure) -> ChannelInfo {
        let head: ChannelHead
        do throws(ChannelFailure) {
            head = try await fanout.broker.head(of: name)
        } catch {
            throw OperatorFailure(error)
        }
        // One more than asked for shows whether there are more.
        let (_, users) = await members(of: name, after: user, limit: limit + 1)
        return ChannelInfo(summary: summary(head), users: users, limit: limit)
    }

    /// How many connections are in a channel here, and the first users in it that sort after another one.
    func members(
        of channel: ChannelName,
        after user: UserName?,
        limit: Int
    ) async -> (connections: Int, users: [UserName]) {
        let users = await shards?.collect { $0.channels.users(of: channel, after: user, limit: limit) } ?? []
        let merged = users.reduce(into: Set()) { $0.formUnion($1) }.sorted()
        return (fanout.connections(in: channel), Array(merged.prefix(limit)))
    }

    /// How many connections are in each of these channels here.
    func presence(in channels: [ChannelName]) -> [Int] { channels.map { fanout.connections(in: $0) } }

    func channels(prefix: String, after: String?, limit: Int) async throws(OperatorFailure) -> ChannelPage {
        do throws(ChannelFailure) {
            return ChannelPage(
                channels: try await fanout.broker.channels(prefix: prefix, after: after, limit: limit).map(summary)
            )
        } catch {
            throw OperatorFailure(error)
        }
    }

    private func summary(_ head: ChannelHead) -> ChannelSummary {
        ChannelSummary(head, connections: fanout.connections(in: head.channel))
    }

    func history(
        of channel: ChannelName,
        _ part: HistoryPart,
        epoch: String?,
        limit: Int
    ) async throws(OperatorFailure) -> ChannelHistory {
        do throws(ChannelFailure) {
            return try await fanout.broker.history(of: channel, part, epoch: epoch, limit: limit)
        } catch {
            throw OperatorFailure(error)
        }
    }

    // MARK: Nodes

    func nodes() async throws(OperatorFailure) -> ClusterInfo {
        ClusterInfo(engine: ClusterStatus(kind: "memory", isUp: true), nodes: [edge.info])
    }

    // MARK: Closing and bans

    func close(_ id: String, _ request: CloseRequest) async throws(OperatorFailure) {
        try await ask(id) { session -> Void? in
            guard session.isRunning else { return nil }
            return session.close(code: request.code, reason: request.reason, discarding: true, for: .kick)
        }
    }

    func closeConnections(ofUser user: UserName, _ request: CloseRequest) async throws(OperatorFailure) -> Int {
        let locations = try await stored { () async throws(StoreFailure) in
            try await directory?.connections(of: user) ?? []
        }
        return await closeConnections(request, for: .kick, on: Set(locations.map(\.loop))) { $0.user == user }
    }

    func renewToken(_ token: String, of id: String) async throws(OperatorFailure) {
        switch try await ask(id, { $0.renewed(with: token) }) {
        case .renewed: return
        case .noConnection: throw .noConnection
        case .refused(let why): throw .refused(why)
        }
    }

    func ban(_ subject: BanSubject, for ttl: TimeAmount, reason: String) async throws(OperatorFailure) -> BanReceipt {
        let (addition, ban) = try await stored { () async throws(StoreFailure) in
            try await banStore.add(subject, for: ttl, reason: reason)
        }
        guard addition != .full else { throw .bansFull }
        await closeConnections(coveredBy: subject)
        return BanReceipt(ban: ban, isNew: addition == .added)
    }

    func unban(_ subject: BanSubject) async throws(OperatorFailure) {
        admission.sessions.violations.forgive(subject)
        let isRemoved = try await stored { () async throws(StoreFailure) in try await banStore.remove(subject) }
        guard isRemoved else { throw .noBan }
    }

    func ban(of subject: BanSubject) async throws(OperatorFailure) -> BanInfo {
        let ban = try await stored { () async throws(StoreFailure) in try await banStore.info(of: subject) }
        guard let ban else { throw .noBan }
        return ban
    }

    func bans() async throws(OperatorFailure) -> [BanInfo] {
        try await stored { () async throws(StoreFailure) in try await banStore.list() }
    }

    /// Asks a store; when that fails, so does the operation.
    private func stored<Answer: Sendable>(
        _ body: () async throws(StoreFailure) -> Answer
    ) async throws(OperatorFailure) -> Answer {
        do throws(StoreFailure) {
            return try await body()
        } catch {
            throw OperatorFailure(error)
        }
    }

    /// Closes the connections that a ban now covers.
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
            let sessions = shard.sessions.open(where: isWanted)
            for session in sessions {
                session.close(code: request.code, reason: request.reason, discarding: true, for: cause)
            }
            return sessions.count
        }
        return (counts ?? []).reduce(0, +)
    }

    /// Asks the session with this id, on its own loop.
    ///
    /// - Throws: ``OperatorFailure/noConnection`` when there is no session or it returns nil.
    private func ask<Answer: Sendable>(
        _ id: String,
        _ body: @escaping @Sendable (BridgeSession) -> Answer?
    ) async throws(OperatorFailure) -> Answer {
        let location = try await stored { () async throws(StoreFailure) in try await directory?.connection(id) }
        guard let location else { throw .noConnection }
        let answers = await shards?.collect(on: [location.loop]) { $0.sessions[id].flatMap(body) }
        guard let answer = answers?.compactMap({ $0 }).first else { throw .noConnection }
        return answer
    }
}

extension EdgeService {
    /// The operations of the API, on the connections of this process or of the whole cluster.
    public var connections: any ConnectionOperator {
        let local = EdgeOperator(edge: self)
        guard let engine = state.engine, let member else { return local }
        return ClusterOperator(local: local, engine: engine, member: member)
    }
}
