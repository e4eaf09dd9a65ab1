import NIOCore
import SidecarCore
import Synchronization

/// Clients that come to this node for a session that is on another one.
extension SessionMoves {
    /// How often a session that is on its way is looked for.
    private static let mostSearches = 12
    /// The most sessions that are to be ended on nodes that do not answer.
    private static let mostLeftovers = 10_000
    /// For how long that is tried; by then most have ended by themselves.
    private static let memoryOfLeftovers = TimeAmount.minutes(10)

    /// Where a session is.
    enum Whereabouts: Sendable {
        /// By now it has come to this node.
        case here
        case on(NodeID)
        case nowhere
    }

    /// What came of asking for a session.
    enum Taken: Sendable {
        case session(SessionRecord, move: String)
        /// The app has not answered its last event yet.
        case busy
        case gone
    }

    /// Finds a session that can be resumed with a token, and was not here when the caller looked.
    ///
    /// - Parameter completion: Called on the event loop, usually within two `CLUSTER_TIMEOUT`s.
    func find(
        _ token: ResumeToken,
        _ terms: ResumeTerms,
        user: UserName?,
        on eventLoop: any EventLoop,
        _ completion: @escaping (Whereabouts) -> Void
    ) {
        let bound = NIOLoopBound(completion, eventLoop: eventLoop)
        let request = NodeRequest.findSession(token: token.hash.text, terms: WireBytes(terms.record), user: user)
        Task {
            let (found, isSilent) = await find(request, token)
            eventLoop.execute { bound.value(found) }
            if isSilent, let owner = token.node {
                await endLater(
                    .endSession(token: token.hash.text, terms: WireBytes(terms.record), user: user),
                    at: owner
                )
            }
        }
    }

    /// The session of a client that begins anew here may live on a node that does not answer now: it ends as soon as that
    /// is heard of.
    private func endLater(_ request: NodeRequest, at node: NodeID) async {
        guard leftovers.wrappingAdd(1, ordering: .relaxed).newValue <= Self.mostLeftovers else {
            leftovers.wrappingSubtract(1, ordering: .relaxed)
            return
        }
        defer { leftovers.wrappingSubtract(1, ordering: .relaxed) }
        let end = NIODeadline.now() + Self.memoryOfLeftovers
        while NIODeadline.now() < end, await isThere(node) {
            if await engine.ask([node], request)[node] != nil { return }
            try? await Task.sleep(for: .seconds(1))
        }
    }

    /// - Returns: Where it is, and whether the node that made the token is there and did not answer.
    private func find(_ request: NodeRequest, _ token: ResumeToken) async -> (Whereabouts, isSilent: Bool) {
        var isSilent = false
        let found = await find(request, token, &isSilent)
        return (found, isSilent)
    }

    private func find(_ request: NodeRequest, _ token: ResumeToken, _ isSilent: inout Bool) async -> Whereabouts {
        for search in 0..<Self.mostSearches {
            let others = await engine.others().nodes.map(\.id)
            var answers: [NodeID: NodeAnswer] = [:]
            if let maker = token.node, others.contains(maker) {
                answers = await engine.ask([maker], request)
                if answers[maker] == .done { return .on(maker) }
                isSilent = answers[maker] == nil
            }
            answers.merge(await engine.ask(others.filter { $0 != token.node }, request)) { $1 }
            if let owner = answers.first(where: { $0.value == .done })?.key { return .on(owner) }
            if resumes[token.hash] != nil { return .here }
            // It is on its way from one to another, or one has too much to do.
            let isComing = answers.values.contains { answer in
                if case .failed(.unavailable) = answer { true } else { answer == .sessionIsBusy }
            }
            guard isComing || isLeaving(token.hash) else {
                guard search == 0 else { return .nowhere }
                // The last node may have left it behind.
                await adoptParked()
                return resumes[token.hash] == nil ? .nowhere : .here
            }
            try? await Task.sleep(for: Self.pause)
        }
        return .nowhere
    }

    /// Takes a session over from the node that has it. What comes has to be confirmed by ``arrived(_:from:isTaken:)``.
    ///
    /// - Parameters:
    ///   - seq: The last message that the client has.
    ///   - attemptedAt: When the client's handshake was accepted.
    ///   - completion: Called on the event loop.
    func take(
        _ token: ResumeToken.Hash,
        seq: UInt64,
        attemptedAt: NIODeadline,
        from node: NodeID,
        on eventLoop: any EventLoop,
        _ completion: @escaping (Taken) -> Void
    ) {
        let bound = NIOLoopBound(completion, eventLoop: eventLoop)
        let age = max((NIODeadline.now() - attemptedAt).nanoseconds / 1_000_000, 0)
        Task {
            let taken = await take(.takeSession(token: token.text, seq: seq, age: age), from: node)
            eventLoop.execute { bound.value(taken) }
        }
    }

    private func take(_ request: NodeRequest, from node: NodeID) async -> Taken {
        switch await engine.ask([node], request)[node] {
        case .session(let moving)?:
            guard arrivals.withLock({ $0.begin(moving.move, at: .now()) }) else { return .gone }
            guard let record = try? SessionRecord(bytes: moving.record.bytes, at: .now()) else {
                arrived(moving.move, from: node, isTaken: false)
                return .gone
            }
            return .session(record, move: moving.move)
        case .sessionIsBusy?: return .busy
        default: return .gone
        }
    }

    /// The event loop has a session that has come.
    ///
    /// - Parameter isTaken: False when nobody wants it any more: then it stays where it was.
    func arrived(_ move: String, from node: NodeID, isTaken: Bool) {
        arrivals.withLock { $0.end(move, isTaken: isTaken, at: .now()) }
        unconfirmed.wrappingAdd(1, ordering: .relaxed)
        let news = isTaken ? NodeRequest.tookSession(move: move) : .refusedSession(move: move)
        Task {
            defer { unconfirmed.wrappingSubtract(1, ordering: .relaxed) }
            while await engine.ask([node], news)[node] == nil, await isThere(node) {
                try? await Task.sleep(for: Self.pause)
            }
        }
    }
}
