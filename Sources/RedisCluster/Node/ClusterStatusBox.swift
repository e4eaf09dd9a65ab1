import Synchronization

/// The state of the cluster for health checks and metrics, on any thread.
final class ClusterStatusBox: Sendable {
    private let up = Atomic<Bool>(false)
    private let count = Atomic<Int>(0)
    private let id = Mutex("")

    /// Whether the engine is there.
    var isUp: Bool {
        get { up.load(ordering: .relaxed) }
        set { up.store(newValue, ordering: .relaxed) }
    }

    /// The node's present identity.
    var nodeID: String {
        get { id.withLock { $0 } }
        set { id.withLock { $0 = newValue } }
    }

    /// How many nodes were alive at the last renewal.
    var nodes: Int {
        get { count.load(ordering: .relaxed) }
        set { count.store(newValue, ordering: .relaxed) }
    }
}
