import CoreMetrics
import NIOCore
import SidecarCore
import Synchronization

/// Moves sessions between nodes: to the one that the client comes back to, and away from one that stops.
///
/// A node that gives a session away keeps what it has left until the other one says that it has it (``Departure``). When
/// it says nothing, it is asked; who is asked and does not have the session will not take it any more. So a session is
/// with one of them, unless one is lost meanwhile.
final class SessionMoves: Sendable {
    /// A session that was given to another node, which has not said that it has it.
    private struct Departure: Sendable {
        let record: SessionRecord
        let moved: MovedSession
        let context: NIOLoopBound<SessionContext>
    }

    fileprivate struct Arrivals {
        /// Moves that have ended here, and until when that is remembered.
        var taken: [String: NIODeadline] = [:]
        /// Moves that will not be taken any more.
        var refused: [String: NIODeadline] = [:]
    }

    /// What came of asking for a session.
    enum Taken: Sendable {
        case session(SessionRecord, move: String)
        /// The app has not answered its last event yet.
        case busy
        case gone
    }

    /// The largest record that is sent to another node, in bytes.
    static let mostBytes = 2 << 20
    /// How long it is remembered what has become of a move.
    private static let memory = TimeAmount.minutes(2)
    /// The most moves of which that is remembered.
    fileprivate static let mostRemembered = 200_000
    /// The pause before the other node is asked whether it has a session, or before a busy one is asked for again.
    private static let pause = Duration.milliseconds(250)
    /// How often a session that is on its way is looked for.
    private static let mostSearches = 12
    private static let patience = Duration.seconds(2)

    private let engine: any ClusterEngine
    private let resumes: ResumeDirectory
    private let absentUsers: AbsentUsers
    /// By move.
    private let departures = Mutex<[String: Departure]>([:])
    private let arrivals = Mutex(Arrivals())
    /// Sessions that have come, of which the other node has not heard yet.
    private let unconfirmed = Atomic<Int>(0)
    private let next = Atomic<Int>(0)
    private let results = LabelledCounters<HandoverResult>("sidesocket_handovers_total", "result")

    init(_ engine: any ClusterEngine, _ resumes: ResumeDirectory, _ absentUsers: AbsentUsers) {
        self.engine = engine
        self.resumes = resumes
        self.absentUsers = absentUsers
    }

    /// Whether no session is on its way from here, and the others know of those that have come.
    var isSettled: Bool { departures.withLock { $0.isEmpty } && unconfirmed.load(ordering: .relaxed) == 0 }

    // MARK: A client that comes back here

    /// Where a session is.
    enum Whereabouts: Sendable {
        /// By now it has come to this node.
        case here
        case on(NodeID)
        case nowhere
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
            let found = await find(request, token, first: token.node)
            eventLoop.execute { bound.value(found) }
        }
    }

    private func find(_ request: NodeRequest, _ token: ResumeToken, first: NodeID?) async -> Whereabouts {
        for _ in 0..<Self.mostSearches {
            let others = await engine.others().nodes.map(\.id)
            var answers: [NodeID: NodeAnswer] = [:]
            if let first, others.contains(first) { answers = await engine.ask([first], request) }
            if let first, answers[first] == .done { return .on(first) }
            answers.merge(await engine.ask(others.filter { $0 != first }, request)) { $1 }
            if let owner = answers.first(where: { $0.value == .done })?.key { return .on(owner) }
            if resumes[token.hash] != nil { return .here }
            // It is on its way from one to another.
            guard answers.values.contains(.sessionIsBusy) else { return .nowhere }
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
            guard let record = try? SessionRecord(bytes: moving.record.bytes, at: .now()), accept(moving.move) else {
                return .gone
            }
            return .session(record, move: moving.move)
        case .sessionIsBusy?: return .busy
        default: return .gone
        }
    }

    /// A session has come.
    ///
    /// - Parameter isTaken: False when nobody wants it any more: then it stays where it was.
    func arrived(_ move: String, from node: NodeID, isTaken: Bool) {
        guard isTaken else { return arrivals.withLock { $0.taken[move] = nil } }
        unconfirmed.wrappingAdd(1, ordering: .relaxed)
        Task {
            defer { unconfirmed.wrappingSubtract(1, ordering: .relaxed) }
            while await engine.ask([node], .tookSession(move: move))[node] == nil, await isThere(node) {
                try? await Task.sleep(for: Self.pause)
            }
        }
    }

    /// Whether a node is alive, as far as that can be known.
    private func isThere(_ node: NodeID) async -> Bool {
        let (others, areCurrent) = await engine.others()
        return !areCurrent || others.contains { $0.id == node }
    }

    /// - Returns: False for one that its node has kept, since this node has said that it does not have it.
    private func accept(_ move: String) -> Bool {
        arrivals.withLock { arrivals in
            arrivals.forgetOld(at: .now())
            guard arrivals.refused[move] == nil, arrivals.taken.count < Self.mostRemembered else { return false }
            arrivals.taken[move] = .now() + Self.memory
            return true
        }
    }

    /// - Returns: Nil when that cannot be said.
    private func has(_ move: String) -> Bool? {
        arrivals.withLock { arrivals in
            if arrivals.taken[move] != nil { return true }
            arrivals.forgetOld(at: .now())
            guard arrivals.refused.count < Self.mostRemembered else { return nil }
            arrivals.refused[move] = .now() + Self.memory
            return false
        }
    }

    // MARK: Sessions that make room

    /// Ends a session of a user that waits for its client on another node.
    ///
    /// - Parameter completion: Called on the event loop, with whether there was one.
    func endAbsent(of user: UserName, on eventLoop: any EventLoop, _ completion: @escaping (Bool) -> Void) {
        guard engine.status.nodes > 1 else { return completion(false) }
        let bound = NIOLoopBound(completion, eventLoop: eventLoop)
        Task {
            var hasEnded = false
            for node in await engine.others().nodes where !hasEnded {
                hasEnded = await engine.ask([node.id], .endAbsentSession(user: user))[node.id] == .done
            }
            eventLoop.execute { [hasEnded] in bound.value(hasEnded) }
        }
    }

    // MARK: Questions of other nodes

    /// Answers a question about a session.
    func answer(_ request: NodeRequest, from node: NodeID, shards: ShardDirectory?, isDraining: Bool) async
        -> NodeAnswer
    {
        switch request {
        case .findSession(let token, let terms, let user):
            guard let hash = ResumeToken.Hash(token), let terms = try? ResumeTerms(record: terms.bytes) else {
                return .failed(.noConnection)
            }
            guard let place = resumes[hash] else {
                let isLeaving = departures.withLock { $0.values.contains { $0.record.tokens.contains(hash) } }
                return isLeaving ? .sessionIsBusy : .failed(.noConnection)
            }
            switch await ask(place, { $0?.accepts(terms, user: user) }) {
            case true??: return .done
            case false??: return .failed(.noConnection)
            // On its way from one event loop to another.
            case nil, .some(nil): return resumes[hash] == nil ? .failed(.noConnection) : .sessionIsBusy
            }
        case .takeSession(let token, let seq, let age):
            guard let place = ResumeToken.Hash(token).flatMap({ resumes[$0] }) else { return .failed(.noConnection) }
            return await ask(place) { [self] in surrender($0, seq: seq, age: age, to: node) } ?? .failed(.noConnection)
        case .endAbsentSession(let user): return absentUsers.endOldest(of: user) ? .done : .failed(.noConnection)
        case .tookSession(let move):
            commit(move, as: .resumed)
            return .done
        case .hasSession(let move):
            guard let has = has(move) else { return .failed(.unavailable("Too many sessions have moved.")) }
            return has ? .done : .failed(.noConnection)
        case .giveSession(let moving):
            guard !isDraining, let shards else { return .failed(.unavailable("The node is stopping.")) }
            guard let record = try? SessionRecord(bytes: moving.record.bytes, at: .now()) else {
                return .failed(.refused("The session cannot be read."))
            }
            guard accept(moving.move) else { return .failed(.noConnection) }
            // It has been here before, and the other node had it since.
            for move in departures.withLock({ $0.filter { $0.value.record.id == record.id }.keys }) {
                commit(move, as: .resumed)
            }
            let loop = next.wrappingAdd(1, ordering: .relaxed).oldValue % max(1, shards.loops.count)
            let isHere = await shards.collect(on: [loop]) {
                $0.hasRoomForAbsent && BridgeSession.restore(record, nil, in: $0.sessionContext) != nil
            }
            if isHere == [true] { return .done }
            arrivals.withLock { $0.taken[moving.move] = nil }
            return .failed(.refused("There is no room for the session."))
        default: return .failed(.unknownRequest)
        }
    }

    private func ask<Answer: Sendable>(
        _ place: ResumeDirectory.Place,
        _ body: @escaping @Sendable (BridgeSession?) -> Answer
    ) async -> Answer? {
        try? await place.registry.eventLoop.submit { body(place.registry.value[place.id]) }.get()
    }

    private func surrender(_ session: BridgeSession?, seq: UInt64, age: Int64, to node: NodeID) -> NodeAnswer {
        let attemptedAt = NIODeadline.now() - .milliseconds(min(max(age, 0), 3_600_000))
        switch session?.surrenderToNode(seq: seq, attemptedAt: attemptedAt) {
        case nil, .gone?: return .failed(.noConnection)
        case .busy?: return .sessionIsBusy
        case .moved(let record, let moved)?:
            let bytes = record.bytes(at: .now())
            guard let session, bytes.count <= Self.mostBytes else {
                results[.tooLarge].increment()
                if let session { BridgeSession.restore(record, moved, in: session.context)?.endAbsent() }
                return .failed(.noConnection)
            }
            let move = depart(record, moved, session.context)
            watch(move, at: node)
            return .session(MovingSession(move: move, record: bytes))
        }
    }

    // MARK: Sessions that leave

    /// - Returns: The move.
    private func depart(_ record: SessionRecord, _ moved: MovedSession, _ context: SessionContext) -> String {
        let move = ConnectionID.make()
        for token in record.tokens { resumes[token] = nil }
        let context = NIOLoopBound(context, eventLoop: context.eventLoop)
        departures.withLock { $0[move] = Departure(record: record, moved: moved, context: context) }
        return move
    }

    /// The other node has it.
    private func commit(_ move: String, as result: HandoverResult) {
        guard let departure = departures.withLock({ $0.removeValue(forKey: move) }) else { return }
        results[result].increment()
        guard let origin = departure.moved.origin else { return }
        origin.eventLoop.execute { origin.value.discard(departure.moved) }
    }

    /// The other node does not have it: it waits here for its client again.
    private func takeBack(_ move: String) {
        guard let departure = departures.withLock({ $0.removeValue(forKey: move) }) else { return }
        results[.returned].increment()
        departure.context.eventLoop.execute {
            let session = BridgeSession.restore(departure.record, departure.moved, in: departure.context.value)
            if departure.context.value.state.isDraining { session?.drain() }
        }
    }

    /// Finds out what has become of a session when the other node does not say that it has it.
    private func watch(_ move: String, at node: NodeID) {
        Task {
            try? await Task.sleep(for: Self.patience)
            while departures.withLock({ $0[move] != nil }) {
                switch await engine.ask([node], .hasSession(move: move))[node] {
                case .done?: commit(move, as: .resumed)
                case .failed(.noConnection)?: takeBack(move)
                default:
                    if await !isThere(node) { takeBack(move) }
                    try? await Task.sleep(for: Self.pause)
                }
            }
        }
    }

    // MARK: A node that stops

    /// Gives a session to another node.
    ///
    /// - Parameter completion: Called on the event loop, with whether one has taken it; if not, it is to be ended.
    func give(
        _ record: SessionRecord,
        _ moved: MovedSession,
        on eventLoop: any EventLoop,
        _ completion: @escaping (Bool) -> Void
    ) {
        let bound = NIOLoopBound(completion, eventLoop: eventLoop)
        let bytes = record.bytes(at: .now())
        guard let origin = moved.origin, bytes.count <= Self.mostBytes else {
            results[.tooLarge].increment()
            return completion(false)
        }
        let move = depart(record, moved, origin.value.context)
        Task {
            let isGiven = await give(MovingSession(move: move, record: bytes))
            eventLoop.execute {
                if isGiven {
                    self.commit(move, as: .drained)
                } else {
                    self.departures.withLock { $0[move] = nil }
                    self.results[.failed].increment()
                }
                bound.value(isGiven)
            }
        }
    }

    private func give(_ moving: MovingSession) async -> Bool {
        for node in await receivers() {
            var answer = await engine.ask([node], .giveSession(moving))[node]
            while answer == nil, await isThere(node) {
                // It may have it all the same.
                try? await Task.sleep(for: Self.pause)
                answer = await engine.ask([node], .hasSession(move: moving.move))[node]
            }
            if answer == .done { return true }
        }
        return false
    }

    /// The other nodes, those first that started after this one: in a rolling update the others stop next.
    private func receivers() async -> [NodeID] {
        let own = engine.nodeID
        let began = await engine.nodes().first { $0.id == own }?.startedAt ?? 0
        let others = await engine.others().nodes.shuffled()
        return (others.filter { $0.startedAt > began } + others.filter { $0.startedAt <= began }).map(\.id)
    }
}

extension SessionMoves.Arrivals {
    /// Forgets what is old when there is much.
    fileprivate mutating func forgetOld(at now: NIODeadline) {
        if taken.count >= SessionMoves.mostRemembered { taken = taken.filter { $0.value > now } }
        if refused.count >= SessionMoves.mostRemembered { refused = refused.filter { $0.value > now } }
    }
}

/// What came of a session's move to another node, the `result` label of `handovers_total`.
enum HandoverResult: String, CaseIterable {
    /// Its client has come back to another node.
    case resumed
    /// This node stops, and another one has taken it.
    case drained
    /// This node stops, and no other one has taken it.
    case failed
    /// The other node did not take it after all.
    case returned
    /// It keeps too much for its client to be sent.
    case tooLarge = "too_large"
}
