import SidecarCore
import Synchronization

/// The node that the engine belongs to, once it runs.
final class ClusterLink: Sendable {
    private let box = Mutex<(any ClusterNode)?>(nil)

    var node: (any ClusterNode)? {
        get { box.withLock { $0 } }
        set { box.withLock { $0 = newValue } }
    }

    /// What the others are told of this node.
    var info: NodeInfo {
        node?.info
            ?? NodeInfo(name: "", version: "", startedAt: 0, connections: 0, channels: 0, leaseMilliseconds: 0)
    }
}
