import Synchronization

/// The number of nodes, for other threads.
final class NodeTotal: Sendable {
    private let count = Atomic<Int>(0)

    var value: Int { count.load(ordering: .relaxed) }

    func set(_ count: Int) { self.count.store(count, ordering: .relaxed) }
}
