import NIOCore
import SidecarCore

/// The operations of the API over all nodes: what this one does not have, the others are asked for.
struct ClusterOperator: ConnectionOperator {
    /// How long a publication that is waited for may take to be written, as on one node.
    private static let writingTime = TimeAmount.seconds(10)

    let local: EdgeOperator
    let engine: any ClusterEngine
    let member: ClusterMember

    private var name: String { local.edge.info.name }

    // MARK: One connection

    func connection(_ id: String) async throws(OperatorFailure) -> ConnectionInfo {
        guard case .connection(let info) = try await reach(id, .connection(id: id)) else { throw Self.unreadable }
        return info
    }

    func send(
        _ message: DirectMessage,
        to id: String,
        idempotencyKey key: String?
    ) async throws(OperatorFailure) -> DeliveryCounts {
        guard case .counts(var counts) = try await reach(id, .send(message, id: id, key: key)) else {
            throw Self.unreadable
        }
        counts.coverage = nil
        return counts
    }

    func subscribe(_ id: String, to channel: ChannelName) async throws(OperatorFailure) {
        _ = try await reach(id, .subscribe(id: id, channel: channel))
    }

    func unsubscribe(_ id: String, from channel: ChannelName) async throws(OperatorFailure) {
        _ = try await reach(id, .unsubscribe(id: id, channel: channel))
    }

    func close(_ id: String, _ request: CloseRequest) async throws(OperatorFailure) {
        _ = try await reach(id, .close(id: id, request))
    }

    func renewToken(_ token: String, of id: String) async throws(OperatorFailure) {
        _ = try await reach(id, .renewToken(token, id: id))
    }

    /// Asks the node that has a connection: this one, else the one that has registered it, else all.
    ///
    /// - Throws: ``OperatorFailure/noConnection`` only when all nodes that are alive said so.
    private func reach(_ id: String, _ request: NodeRequest) async throws(OperatorFailure) -> NodeAnswer {
        let own = await member.answer(request, from: "")
        if own != .failed(.noConnection) { return try Self.success(own) }
        var rest: [NodeInfo]? = nil
        if let owner = await engine.node(of: id) {
            let answer = await engine.ask([owner.id], request)[owner.id]
            guard let answer, answer != .failed(.unknownRequest) else { throw Self.silent([owner.name], request) }
            if answer != .failed(.noConnection) { return try Self.success(answer) }
            rest = [owner]
        }
        let (others, areCurrent) = await engine.others()
        let asked = others.filter { other in rest?.contains { $0.id == other.id } != true }
        let answers = await engine.ask(asked.map(\.id), request)
        for answer in answers.values where answer != .failed(.noConnection) && answer != .failed(.unknownRequest) {
            return try Self.success(answer)
        }
        guard areCurrent else { throw .unavailable("Other nodes cannot be asked, since the cluster's engine is away.") }
        let missing = Self.missing(asked, answers)
        guard missing.isEmpty else { throw Self.silent(missing, request) }
        throw .noConnection
    }

    private static func success(_ answer: NodeAnswer) throws(OperatorFailure) -> NodeAnswer {
        guard case .failed(let failure) = answer else { return answer }
        throw failure.operatorFailure ?? unreadable
    }

    private static let unreadable = OperatorFailure.unavailable(
        "A node's answer cannot be read; it may have another version."
    )

    private static func silent(_ names: [String], _ request: NodeRequest) -> OperatorFailure {
        let list = names.sorted().joined(separator: ", ")
        let doubt =
            if case .connection = request { "so it is not known whether the connection exists" } else {
                "and may have done it all the same"
            }
        return .unavailable("\(names.count == 1 ? "Node" : "Nodes") \(list) did not answer, \(doubt).")
    }

    /// The names of those that did not give an answer.
    private static func missing(_ nodes: [NodeInfo], _ answers: [NodeID: NodeAnswer]) -> [String] {
        nodes.filter { node in
            switch answers[node.id] {
            case nil, .failed(.unknownRequest)?, .failed(.unavailable)?: true
            default: false
            }
        }.map(\.name).sorted()
    }

    /// Nobody has a name that is too long, so no node has to be asked.
    private static func canBeThere(_ user: UserName?) -> Bool {
        user.map { $0.text.utf8.count <= UserName.maxBytes } ?? true
    }

    // MARK: Many connections

    /// The other nodes; while the engine is away, those that were there before.
    ///
    /// - Throws: ``OperatorFailure/unavailable(_:)`` when it is not known which there are.
    private func known() async throws(OperatorFailure) -> [NodeInfo] {
        let (others, areCurrent) = await engine.others()
        let hasSeenNodes = await !engine.nodes().isEmpty
        guard areCurrent || hasSeenNodes else {
            throw .unavailable("It is not known which other nodes there are, since the cluster's engine is away.")
        }
        return others
    }

    func connections(
        _ filter: ConnectionFilter,
        after: String?,
        limit: Int
    ) async throws(OperatorFailure) -> ConnectionPage {
        var page = try await local.connections(filter, after: after, limit: limit)
        for index in page.connections.indices { page.connections[index].node = name }
        let others = Self.canBeThere(filter.user) ? try await known() : []
        let answers = await engine.ask(others.map(\.id), .connections(filter, after: after, limit: limit))
        var found = page.connections
        var hasMore = page.next != nil
        for case .connections(let theirs) in answers.values {
            found += theirs.connections
            hasMore = hasMore || theirs.next != nil
        }
        found.sort { $0.id < $1.id }
        let merged = Array(found.prefix(limit))
        hasMore = hasMore || found.count > limit
        return ConnectionPage(
            connections: merged,
            next: hasMore ? merged.last?.id : nil,
            missing: Self.missing(others, answers)
        )
    }

    func send(
        _ message: DirectMessage,
        toUser user: UserName,
        idempotencyKey key: String?
    ) async throws(OperatorFailure) -> DeliveryCounts {
        let request = NodeRequest.sendToUser(message, user: user, key: key)
        let others = Self.canBeThere(user) ? try await known() : []
        async let own = member.answer(request, from: "")
        let answers = await engine.ask(others.map(\.id), request)
        guard case .counts(var sum) = try Self.success(await own) else { throw Self.unreadable }
        var coverage = ClusterCoverage(nodes: 1, missing: Self.missing(others, answers))
        for case .counts(let theirs) in answers.values {
            sum.add(theirs)
            coverage.nodes += 1
        }
        sum.coverage = coverage
        return sum
    }

    func closeConnections(ofUser user: UserName, _ request: CloseRequest) async throws(OperatorFailure) -> Int {
        // Its own first: a silent node must not delay them.
        var count = try await local.closeConnections(ofUser: user, request)
        guard Self.canBeThere(user) else { return count }
        let (others, areCurrent) = await engine.others()
        let answers = await engine.ask(others.map(\.id), .closeUser(user: user, request))
        for case .closed(let theirs) in answers.values { count = count.adding(theirs) }
        let missing = Self.missing(others, answers)
        guard missing.isEmpty, areCurrent else {
            let why =
                missing.isEmpty
                ? "Other nodes cannot be asked, since the cluster's engine is away."
                : "\(missing.joined(separator: ", ")) did not answer."
            throw .unavailable("\(why) Closed on the other nodes: \(count).")
        }
        return count
    }

    // MARK: Channels

    func publish(
        _ publication: Publication,
        excluding id: String?,
        waitsForKernel: Bool,
        idempotencyKey key: String?
    ) async throws(OperatorFailure) -> PublicationReceipt {
        let list = [
            ListedPublication(
                publication,
                excluding: id,
                waitsForKernel: waitsForKernel,
                idempotencyKey: key
            )
        ]
        guard let result = await publish(list).first else { throw Self.unreadable }
        return try result.get()
    }

    func publish(_ list: [ListedPublication]) async -> [Result<PublicationReceipt, OperatorFailure>] {
        let reports = list.map { $0.waitsForKernel ? ConnectionID.make() : nil }
        for case let report? in reports { member.reports.expect(report) }
        defer { for case let report? in reports { member.reports.forget(report) } }
        var results = await local.publish(list, reports: reports)
        // All of them together wait as long as one.
        let deadline = NIODeadline.now() + local.edge.settings.clusterTimeout + Self.writingTime
        for (index, report) in reports.enumerated() where results.indices.contains(index) {
            guard let report, case .success(let receipt) = results[index], !member.reports.isRepeat(report) else {
                continue
            }
            results[index] = .success(await covering(receipt, list[index].publication.channel, report, deadline))
        }
        return results
    }

    /// Waits until the nodes with subscribers have written a publication.
    private func covering(
        _ receipt: PublicationReceipt,
        _ channel: ChannelName,
        _ report: String,
        _ deadline: NIODeadline
    ) async -> PublicationReceipt {
        let others: [NodeInfo]
        do throws(ChannelFailure) {
            others = try await engine.subscribers(of: channel)
        } catch {
            // It is published, which matters more than who has it.
            let (known, _) = await engine.others()
            return receipt.covering(receipt.counts, 1, missing: known.map(\.name).sorted())
        }
        func wait(for nodes: [NodeInfo], _ most: TimeAmount) async -> [NodeID: DeliveryCounts] {
            let patience = min(most, max(.zero, deadline - .now()))
            return await member.reports.wait(for: report, from: Set(nodes.map(\.id)), patience)
        }
        var reports = await wait(for: others, local.edge.settings.clusterTimeout)
        if reports.count < others.count {
            // A slow client is worth a wait, a node that does not answer is not.
            let silent = others.filter { reports[$0.id] == nil }
            let alive = await engine.ask(silent.map(\.id), .presence(channels: [channel]))
            reports = await wait(for: others.filter { reports[$0.id] != nil || alive[$0.id] != nil }, Self.writingTime)
        }
        var counts = receipt.counts
        for theirs in reports.values { counts.add(theirs) }
        let missing = others.filter { reports[$0.id] == nil }.map(\.name).sorted()
        return receipt.covering(counts, 1 + reports.count, missing: missing)
    }

    func channel(
        _ name: ChannelName,
        usersAfter user: UserName?,
        limit: Int
    ) async throws(OperatorFailure) -> ChannelInfo {
        let own = try await local.channel(name, usersAfter: user, limit: limit + 1)
        let others: [NodeInfo]
        do throws(ChannelFailure) {
            others = try await engine.subscribers(of: name)
        } catch {
            throw OperatorFailure(error)
        }
        let answers = await engine.ask(others.map(\.id), .members(channel: name, after: user, limit: limit + 1))
        var users = Set(own.users)
        var summary = own.summary
        for case .members(let connections, let theirs) in answers.values {
            summary.connections = summary.connections.adding(connections)
            users.formUnion(theirs)
        }
        return ChannelInfo(
            summary: summary,
            users: users.sorted(),
            limit: limit,
            missing: Self.missing(others, answers)
        )
    }

    func channels(prefix: String, after: String?, limit: Int) async throws(OperatorFailure) -> ChannelPage {
        var page = try await local.channels(prefix: prefix, after: after, limit: limit)
        let (others, _) = await engine.others()
        guard !page.channels.isEmpty else { return page }
        let answers = await engine.ask(others.map(\.id), .presence(channels: page.channels.map(\.channel)))
        for case .presence(let counts) in answers.values {
            for (index, count) in zip(page.channels.indices, counts) {
                page.channels[index].connections = page.channels[index].connections.adding(count)
            }
        }
        page.missing = Self.missing(others, answers)
        return page
    }

    func history(
        of channel: ChannelName,
        _ part: HistoryPart,
        epoch: String?,
        limit: Int
    ) async throws(OperatorFailure) -> ChannelHistory {
        try await local.history(of: channel, part, epoch: epoch, limit: limit)
    }

    // MARK: Nodes and bans

    func nodes() async throws(OperatorFailure) -> ClusterInfo {
        let nodes = await engine.nodes()
        return ClusterInfo(
            engine: engine.status,
            nodes: nodes.isEmpty ? [local.edge.info] : nodes,
            warnings: await engine.warnings()
        )
    }

    func ban(_ subject: BanSubject, for ttl: TimeAmount, reason: String) async throws(OperatorFailure) -> BanReceipt {
        try await local.ban(subject, for: ttl, reason: reason)
    }

    func unban(_ subject: BanSubject) async throws(OperatorFailure) { try await local.unban(subject) }

    func ban(of subject: BanSubject) async throws(OperatorFailure) -> BanInfo { try await local.ban(of: subject) }

    func bans() async throws(OperatorFailure) -> [BanInfo] { try await local.bans() }
}

extension DeliveryCounts {
    fileprivate mutating func add(_ more: DeliveryCounts) {
        matched = matched.adding(more.matched)
        queued = queued.adding(more.queued)
        dropped = dropped.adding(more.dropped)
    }
}

extension PublicationReceipt {
    /// The result over several nodes.
    fileprivate func covering(_ counts: DeliveryCounts, _ nodes: Int, missing: [String]) -> PublicationReceipt {
        var counts = counts
        counts.coverage = ClusterCoverage(nodes: nodes, missing: missing)
        return PublicationReceipt(position: position, counts: counts, scope: .cluster)
    }
}

extension Int {
    /// The sum with a count of another node, which may be any number.
    fileprivate func adding(_ count: Int) -> Int {
        let (sum, isTooLarge) = addingReportingOverflow(Swift.max(0, count))
        return isTooLarge ? .max : sum
    }
}
