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

    func connections(user: String?, address: IPAddress?, after: String?, limit: Int) async -> ConnectionPage {
        let wanted = address.map { "\($0)" }
        let now = WallClock.unixMilliseconds()
        let found = await shards?.collect { shard in
            let sessions = shard.sessions {
                (user == nil || $0.user == user) && (wanted == nil || $0.clientAddress == wanted)
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

    func send(_ format: MessageFormat, _ payload: ByteBuffer, to id: String) async -> Bool {
        await ask(id) { $0.deliver(format, payload) } ?? false
    }

    func close(_ id: String, _ request: CloseRequest) async -> Bool {
        await ask(id) { session in
            guard session.isRunning else { return false }
            session.close(code: request.code, reason: request.reason, discarding: true)
            return true
        } ?? false
    }

    func closeConnections(ofUser user: String, _ request: CloseRequest) async -> Int {
        await closeConnections(request) { $0.user == user }
    }

    func renewToken(_ token: String, of id: String) async -> TokenRenewal {
        await ask(id) { $0.renewed(with: token) } ?? .noConnection
    }

    func ban(_ subject: BanSubject, for ttl: TimeAmount, reason: String) async -> BanTable.Addition {
        let addition = admission.bans.add(subject, for: ttl, reason: reason)
        if addition != .full { await closeConnections(coveredBy: subject) }
        return addition
    }

    func unban(_ subject: BanSubject) -> Bool {
        admission.forgive(subject)
        return admission.bans.remove(subject)
    }

    func ban(of subject: BanSubject) -> BanInfo? { admission.bans.info(of: subject) }
    func bans() -> [BanInfo] { admission.bans.list() }

    /// Closes whoever is banned now.
    func closeConnections(coveredBy subject: BanSubject) async {
        guard let request = CloseRequest(code: 4403, reason: "access is denied") else { return }
        _ = await closeConnections(request) { session in
            switch subject {
            case .user(let user): session.user == user
            case .network(let network): IPAddress(session.clientAddress).map(network.contains) ?? false
            }
        }
    }

    private func closeConnections(
        _ request: CloseRequest,
        where isWanted: @escaping @Sendable (BridgeSession) -> Bool
    ) async -> Int {
        let counts = await shards?.collect { shard in
            let sessions = shard.sessions(where: isWanted)
            for session in sessions { session.close(code: request.code, reason: request.reason, discarding: true) }
            return sessions.count
        }
        return (counts ?? []).reduce(0, +)
    }

    /// Asks the session of this name, on its own loop.
    private func ask<Answer: Sendable>(
        _ id: String,
        _ body: @escaping @Sendable (BridgeSession) -> Answer?
    ) async -> Answer? {
        let answers = await shards?.collect { $0.session(id).flatMap(body) }
        return answers?.compactMap { $0 }.first
    }
}
