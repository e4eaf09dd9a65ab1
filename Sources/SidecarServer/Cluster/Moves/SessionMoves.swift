import CoreMetrics
import NIOCore
import SidecarCore
import Synchronization

/// Moves sessions between nodes: to the one that the client comes back to, and away from one that stops.
///
/// A node that gives a session away keeps what it has left until the other one says that it has it (``Departures``). When
/// it says nothing, it is asked; who is asked and does not have the session will not take it any more (``Arrivals``). So
/// a session is with one of them, unless one is lost meanwhile.
final class SessionMoves: Sendable {
    /// The largest record that is sent to another node, in bytes.
    static let mostBytes = 2 << 20
    /// The pause before something is asked again.
    static let pause = Duration.milliseconds(250)

    let engine: any ClusterEngine
    let resumes: ResumeDirectory
    let departures = Mutex(Departures())
    let arrivals = Mutex(Arrivals())
    /// Sessions that have come, of which the other node has not heard yet.
    let unconfirmed = Atomic<Int>(0)
    let results = LabelledCounters<HandoverResult>("sidesocket_handovers_total", "result")
    private let absentUsers: AbsentUsers
    let next = Atomic<Int>(0)
    /// How many sessions are to be ended on nodes that do not answer.
    let leftovers = Atomic<Int>(0)
    let shards = Mutex<(@Sendable () -> ShardDirectory?)?>(nil)
    /// What is taken from the engine at the moment.
    let adoption = Mutex<Task<Void, Never>?>(nil)

    init(_ engine: any ClusterEngine, _ resumes: ResumeDirectory, _ absentUsers: AbsentUsers) {
        self.engine = engine
        self.resumes = resumes
        self.absentUsers = absentUsers
    }

    /// Whether no session is on its way from here, and the others know of those that have come.
    var isSettled: Bool { departures.withLock { $0.isEmpty } && unconfirmed.load(ordering: .relaxed) == 0 }

    /// Whether a node is alive, as far as that can be known.
    func isThere(_ node: NodeID) async -> Bool {
        let (others, areCurrent) = await engine.others()
        return !areCurrent || others.contains { $0.id == node }
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
    func answer(_ request: NodeRequest, from node: NodeID, shards: ShardDirectory?) async -> NodeAnswer {
        switch request {
        case .findSession(let token, let terms, let user): await find(token, terms.bytes, user)
        case .takeSession(let token, let seq, let age): await surrender(token, seq: seq, age: age, to: node)
        case .endAbsentSession(let user): absentUsers.endOldest(of: user) ? .done : .failed(.noConnection)
        case .endSession(let token, let terms, let user): await end(token, terms.bytes, user)
        case .tookSession(let move): await commit(move, as: .resumed)
        case .refusedSession(let move): await takeBack(move)
        case .hasSession(let move):
            switch arrivals.withLock({ $0.state(of: move, at: .now()) }) {
            case .taken?: .done
            case .refused?: .failed(.noConnection)
            case .arriving?, nil: .failed(.unavailable("It is not known yet."))
            }
        case .giveSession(let moving): await receive(moving, shards)
        default: .failed(.unknownRequest)
        }
    }

    private func find(_ token: String, _ terms: [UInt8], _ user: UserName?) async -> NodeAnswer {
        guard let hash = ResumeToken.Hash(token), let terms = try? ResumeTerms(record: terms) else {
            return .failed(.noConnection)
        }
        if let place = resumes[hash] {
            let isAccepted = try? await place.registry.eventLoop.submit {
                place.registry.value[place.id]?.accepts(terms, user: user)
            }.get()
            if let isAccepted = isAccepted ?? nil { return isAccepted ? .done : .failed(.noConnection) }
        }
        // On its way to another node, or from one event loop to another.
        return isLeaving(hash) || resumes[hash] != nil ? .sessionIsBusy : .failed(.noConnection)
    }

    /// The client of a session has begun anew on another node.
    private func end(_ token: String, _ terms: [UInt8], _ user: UserName?) async -> NodeAnswer {
        guard let hash = ResumeToken.Hash(token), let terms = try? ResumeTerms(record: terms),
            let place = resumes[hash]
        else { return .done }
        try? await place.registry.eventLoop.submit {
            guard let session = place.registry.value[place.id], session.accepts(terms, user: user) else { return }
            session.endReplaced()
        }.get()
        return .done
    }

    /// Takes a session over from a node that stops.
    private func receive(_ moving: MovingSession, _ shards: ShardDirectory?) async -> NodeAnswer {
        guard let shards else { return .failed(.unavailable("The node is stopping.")) }
        guard let record = try? SessionRecord(bytes: moving.record.bytes, at: .now()) else {
            return .failed(.refused("The session cannot be read."))
        }
        guard arrivals.withLock({ $0.begin(moving.move, at: .now()) }) else { return .failed(.noConnection) }
        // It has been here before, and the other node had it since.
        for move in departures.withLock({ $0.moves(of: record.id) }) {
            _ = await commit(move, as: .resumed, returnsHere: true)
        }
        let isHere = await restore(record, shards)
        arrivals.withLock { $0.end(moving.move, isTaken: isHere, at: .now()) }
        return isHere ? .done : .failed(.refused("There is no room for the session."))
    }
}

/// What came of a session's move to another node, the `result` label of `handovers_total`.
enum HandoverResult: String, CaseIterable {
    /// Its client has come back to another node.
    case resumed
    /// This node stops, and another one has taken it.
    case drained
    /// This node stops, there is no other one, and the engine keeps it for the next.
    case parked
    /// This node stops, and no other one has taken it.
    case failed
    /// The other node did not take it after all.
    case returned
    /// It keeps too much for its client to be sent.
    case tooLarge = "too_large"
}
