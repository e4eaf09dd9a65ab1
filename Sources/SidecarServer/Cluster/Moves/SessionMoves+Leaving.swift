import CoreMetrics
import NIOCore
import SidecarCore
import Synchronization

/// Sessions of this node that go to another one.
extension SessionMoves {
    /// How long the other node has to say that it has a session, before it is asked.
    private static let patience = Duration.seconds(2)
    /// The most that an attempt may be old, in milliseconds.
    private static let mostAge: Int64 = 3_600_000

    /// Whether a session that can be resumed with a token is on its way from here.
    func isLeaving(_ token: ResumeToken.Hash) -> Bool { departures.withLock { $0.contains(token) } }

    // MARK: To a client

    /// Gives a session to the node that its client has come back to.
    func surrender(_ token: String, seq: UInt64, age: Int64, to node: NodeID) async -> NodeAnswer {
        guard let place = ResumeToken.Hash(token).flatMap({ resumes[$0] }) else { return .failed(.noConnection) }
        let answer = try? await place.registry.eventLoop.submit {
            self.surrender(place.registry.value[place.id], seq: seq, age: age, to: node)
        }.get()
        return answer ?? .failed(.noConnection)
    }

    private func surrender(_ session: BridgeSession?, seq: UInt64, age: Int64, to node: NodeID) -> NodeAnswer {
        let attemptedAt = NIODeadline.now() - .milliseconds(min(max(age, 0), Self.mostAge))
        guard let session else { return .failed(.noConnection) }
        switch session.surrenderToNode(seq: seq, attemptedAt: attemptedAt) {
        case .gone: return .failed(.noConnection)
        case .busy: return .sessionIsBusy
        case .moved(let record, let moved):
            let bytes = record.bytes(at: .now())
            guard bytes.count <= Self.mostBytes else {
                results[.tooLarge].increment()
                BridgeSession.restore(record, moved, in: session.context)?.endAbsent()
                return .failed(.noConnection)
            }
            let move = depart(record, moved, session.context)
            Task { await watch(move, at: node) }
            return .session(MovingSession(move: move, record: bytes))
        }
    }

    /// Finds out what has become of a session when the other node does not say that it has it.
    private func watch(_ move: String, at node: NodeID) async {
        try? await Task.sleep(for: Self.patience)
        while departures.withLock({ $0.contains(move: move) }) {
            switch await engine.ask([node], .hasSession(move: move))[node] {
            case .done?: _ = await commit(move, as: .resumed)
            case .failed(.noConnection)?: _ = await takeBack(move)
            default:
                if await !isThere(node) { _ = await takeBack(move) }
                try? await Task.sleep(for: Self.pause)
            }
        }
    }

    // MARK: From a node that stops

    /// Gives a session to another node.
    ///
    /// - Parameter completion: Called on the event loop, with whether one has taken it; if not, it is to be ended. It is
    ///   not called when the drain ends before that is known.
    func give(
        _ record: SessionRecord,
        _ moved: MovedSession,
        in context: SessionContext,
        _ completion: @escaping (Bool) -> Void
    ) {
        let bound = NIOLoopBound(completion, eventLoop: context.eventLoop)
        let bytes = record.bytes(at: .now())
        guard bytes.count <= Self.mostBytes else {
            results[.tooLarge].increment()
            return completion(false)
        }
        let move = depart(record, moved, context)
        Task {
            let result = await give(record.id, MovingSession(move: move, record: bytes))
            let isGiven = result != .failed
            if isGiven { _ = await commit(move, as: result) }
            bound.eventLoop.execute {
                if !isGiven {
                    guard self.departures.withLock({ $0.remove(move) }) != nil else { return }
                    self.results[.failed].increment()
                }
                bound.value(isGiven)
            }
        }
    }

    private func give(_ id: String, _ moving: MovingSession) async -> HandoverResult {
        let receivers = await receivers()
        for node in receivers {
            // Without the engine nothing is sent.
            guard engine.status.isUp else { return .failed }
            var answer = await engine.ask([node], .giveSession(moving))[node]
            while isUnknown(answer), engine.status.isUp, await isThere(node) {
                // It may have it all the same.
                try? await Task.sleep(for: Self.pause)
                answer = await engine.ask([node], .hasSession(move: moving.move))[node]
            }
            if answer == .done { return .drained }
        }
        // Those that have refused it would not take it from the engine either.
        guard receivers.isEmpty, engine.status.isUp else { return .failed }
        return await engine.park(id, moving.record.bytes) ? .parked : .failed
    }

    private func isUnknown(_ answer: NodeAnswer?) -> Bool {
        guard let answer else { return true }
        return if case .failed(.unavailable) = answer { true } else { false }
    }

    /// The other nodes, those first that started after this one: in a rolling update the others stop next.
    private func receivers() async -> [NodeID] {
        let own = engine.nodeID
        let began = await engine.nodes().first { $0.id == own }?.startedAt ?? 0
        let others = await engine.others().nodes.shuffled()
        return (others.filter { $0.startedAt > began } + others.filter { $0.startedAt <= began }).map(\.id)
    }

    /// The drain has ended: what is still on its way ends here, as all that is left does.
    func giveUp() async {
        for move in departures.withLock({ $0.moves }) { _ = await takeBack(move, drains: false) }
    }

    // MARK: The outcome

    /// - Returns: The move.
    private func depart(_ record: SessionRecord, _ moved: MovedSession, _ context: SessionContext) -> String {
        let move = ConnectionID.make()
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        // Whoever looks for it finds it in one of the two.
        departures.withLock { $0.insert(.init(record: record, moved: moved, context: bound), as: move) }
        for token in record.tokens { resumes[token] = nil }
        return move
    }

    /// The other node has it.
    ///
    /// - Parameter returnsHere: Whether it comes back at once, and so stays registered.
    func commit(_ move: String, as result: HandoverResult, returnsHere: Bool = false) async -> NodeAnswer {
        guard let departure = departures.withLock({ $0.remove(move) }) else { return .done }
        results[result].increment()
        if let origin = departure.moved.origin {
            try? await origin.eventLoop.submit {
                origin.value.discard(departure.moved, returnsHere: returnsHere)
            }.get()
        }
        return .done
    }

    /// The other node does not have it: it waits here for its client again.
    func takeBack(_ move: String, drains: Bool = true) async -> NodeAnswer {
        guard let context = departures.withLock({ $0.context(of: move) }) else { return .done }
        try? await context.eventLoop.submit {
            guard let departure = self.departures.withLock({ $0.remove(move) }) else { return }
            self.results[.returned].increment()
            let session = BridgeSession.restore(departure.record, departure.moved, in: context.value)
            if drains, context.value.state.isDraining { session?.drain() }
        }.get()
        return .done
    }
}
