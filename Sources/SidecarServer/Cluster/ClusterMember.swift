import CoreMetrics
import Logging
import NIOCore
import SidecarCore
import Synchronization

/// This node as the engine and the other nodes see it.
final class ClusterMember: ClusterNode {
    let reports = WriteReports()
    /// The public side, while it runs.
    private let running = Mutex<EdgeService?>(nil)
    private let bans: ClusterBanStore
    private let sent = IdempotentResults<DeliveryCounts> { _ in 64 }

    init(bans: ClusterBanStore) { self.bans = bans }

    /// From now on questions can be answered.
    func begin(with edge: EdgeService) {
        running.withLock { $0 = edge }
        edge.state.moves?.begin { [weak edge] in edge?.shards }
        edge.state.channels.sendReports { counts, report, node in
            let counts = DeliveryCounts(matched: counts.matched, queued: counts.queued, dropped: counts.dropped)
            Task { _ = await edge.state.engine?.ask([node], .wrote(report: report, counts)) }
        }
    }

    /// The public side has ended.
    func end() { running.withLock { $0 = nil } }

    private var edge: EdgeService? { running.withLock { $0 } }
    private var local: EdgeOperator? { edge.map { EdgeOperator(edge: $0) } }

    // MARK: ClusterNode

    var info: NodeInfo {
        edge?.info
            ?? NodeInfo(name: "", version: "", startedAt: 0, connections: 0, channels: 0, leaseMilliseconds: 0)
    }

    func answer(_ request: NodeRequest, from node: NodeID) async -> NodeAnswer {
        guard let local else { return .failed(.unavailable("The node is stopping.")) }
        do throws(OperatorFailure) {
            return try await answer(request, from: node, local)
        } catch {
            return .failed(NodeAnswer.Failure(error))
        }
    }

    private func answer(
        _ request: NodeRequest,
        from node: NodeID,
        _ local: EdgeOperator
    ) async throws(OperatorFailure) -> NodeAnswer {
        switch request {
        case .connections(let filter, let after, let limit):
            var page = try await local.connections(filter, after: after, limit: min(max(1, limit), 1000))
            for index in page.connections.indices { page.connections[index].node = local.edge.info.name }
            return .connections(page)
        case .connection(let id):
            var info = try await local.connection(id)
            info.node = local.edge.info.name
            return .connection(info)
        case .send(let message, let id, let key):
            return .counts(
                try await once(key, "connection \(id)") { () async throws(OperatorFailure) in
                    try await local.send(message, to: id, idempotencyKey: nil)
                }
            )
        case .sendToUser(let message, let user, let key):
            return .counts(
                try await once(key, "user \(user)") { () async throws(OperatorFailure) in
                    try await local.send(message, toUser: user, idempotencyKey: nil)
                }
            )
        case .subscribe(let id, let channel):
            try await local.subscribe(id, to: channel)
            return .done
        case .unsubscribe(let id, let channel):
            try await local.unsubscribe(id, from: channel)
            return .done
        case .close(let id, let request):
            try await local.close(id, request)
            return .done
        case .closeUser(let user, let request):
            return .closed(try await local.closeConnections(ofUser: user, request))
        case .renewToken(let token, let id):
            try await local.renewToken(token, of: id)
            return .done
        case .presence(let channels): return .presence(local.presence(in: channels))
        case .members(let channel, let user, let limit):
            let (connections, users) = await local.members(of: channel, after: user, limit: min(max(1, limit), 1001))
            return .members(connections: connections, users: users)
        case .memberPage(let channel, let user, let limit):
            let members = local.edge.state.channels.members
            return .memberPage(
                members?.page(of: channel, after: user, limit: min(max(1, limit), 1000))
                    ?? MemberPage([], limit: 1, version: 0)
            )
        case .findSession, .takeSession, .tookSession, .refusedSession, .hasSession, .giveSession, .endAbsentSession,
            .endSession:
            let edge = local.edge
            guard let moves = edge.state.moves else { return .failed(.unknownRequest) }
            return await moves.answer(request, from: node, shards: edge.shards)
        case .post(let body, let terms, _):
            guard let relays = local.edge.state.relays else { return .failed(.unknownRequest) }
            return await relays.answer(body: body.bytes, terms: terms.bytes)
        case .wrote(let report, let counts):
            reports.add(counts, of: node, to: report)
            return .done
        }
    }

    /// Sends once for all requests with the same key to the same target, by whichever node they come.
    private func once(
        _ key: String?,
        _ target: String,
        _ send: @escaping @Sendable () async throws(OperatorFailure) -> DeliveryCounts
    ) async throws(OperatorFailure) -> DeliveryCounts {
        guard let key else { return try await send() }
        do {
            return try await sent.result(for: "\(target.utf8.count) \(target) \(key)", at: .now()) { try await send() }
        } catch let failure as OperatorFailure {
            throw failure
        } catch {
            throw .unavailable("Too many idempotency keys were used within five minutes.")
        }
    }

    func wasRepeat(report: String) { reports.expectNobody(report) }

    func bansChanged(_ bans: [ClusterBan]) {
        let new = self.bans.replace(with: bans)
        guard !new.isEmpty, let local else { return }
        Task { for subject in new { await local.closeConnections(coveredBy: subject) } }
    }

    func userIsOn(_ nodes: Int, _ user: UserName) { edge?.userIsOn(nodes, user) }

    func nodesAre(_ nodes: Set<NodeID>) {
        edge?.state.channels.memberSync?.nodesAre(nodes)
        guard let moves = edge?.state.moves else { return }
        Task { await moves.adoptParked() }
    }

    func registerAgain(_ which: Reregistration) {
        bans.share()
        if case .anew = which { edge?.state.channels.memberSync?.begins() }
        guard let shards = edge?.shards else { return }
        Task { await shards.forEach { $0.registrations?.again(which) } }
    }

    func adopt(
        _ connections: [RegisteredConnection],
        done: @escaping @Sendable (_ id: String, _ isOwed: Bool) -> Void
    ) {
        guard let edge, let shards = edge.shards else { return }
        Task {
            let lost = connections.compactMap { connection -> LostConnection? in
                do throws(JournalFault) {
                    return try LostConnection(connection)
                } catch {
                    edge.logger.error(
                        "the end of a lost node's connection cannot be told to the app",
                        metadata: ["connection": "\(connection.id)", "why": "\(error.words)"]
                    )
                    edge.metrics.messagesDropped(1, reason: .closeUndelivered)
                    done(connection.id, false)
                    return nil
                }
            }
            await shards.spread(lost) { shard, connection in
                BridgeSession(lost: connection, context: shard.sessionContext) { done(connection.id, $0) }.tellLoss()
            }
        }
    }
}
