import DequeModule
import NIOCore
import SidecarCore

/// The sessions of one event loop that wait for their clients, those first that have waited longest (`MAX_DETACHED`).
final class AbsentSessions {
    private let registry: SessionRegistry
    private let state: ServerState
    private let metrics: ServerMetrics
    private var queue: Deque<(id: String, absence: ClientAbsence)> = []
    /// At how many entries those are removed whose clients have returned.
    private var cleanUpAt = 64

    init(of registry: SessionRegistry, _ state: ServerState, _ metrics: ServerMetrics) {
        self.registry = registry
        self.state = state
        self.metrics = metrics
    }

    /// A session has lost its client; there may be too many now.
    func add(_ session: BridgeSession) {
        guard let absence = session.conversation?.absence else { return }
        queue.append((session.id, absence))
        if queue.count >= cleanUpAt {
            queue.removeAll { self.session($0) == nil }
            cleanUpAt = max(64, 2 * queue.count)
        }
        let budget = state.detachedSessions
        while budget.held > budget.limit, let oldest = queue.popFirst() {
            guard let session = self.session(oldest) else { continue }
            metrics.limited(.maxDetached, action: .closed)
            session.endAbsent()
        }
    }

    /// The session of an entry, if its client has not returned.
    private func session(_ entry: (id: String, absence: ClientAbsence)) -> BridgeSession? {
        guard let session = registry[entry.id], session.conversation?.absence === entry.absence else { return nil }
        return session
    }
}
