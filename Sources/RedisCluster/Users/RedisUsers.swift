import NIOCore
import SidecarCore
import Synchronization

/// Passes calls from any thread on to the ``UserCounts`` of a node.
final class RedisUsers: ClusterUsers {
    private let eventLoop: any EventLoop
    private let counts: @Sendable () -> UserCounts?
    private let isStopped = Atomic<Bool>(false)

    /// - Parameters:
    ///   - eventLoop: The node's.
    ///   - counts: Called on it.
    init(on eventLoop: any EventLoop, _ counts: @escaping @Sendable () -> UserCounts?) {
        self.eventLoop = eventLoop
        self.counts = counts
    }

    /// The loop will run no more: who asks is refused at once.
    func stop() { isStopped.store(true, ordering: .relaxed) }

    func open(_ user: UserName, limit: Int, _ completion: @escaping @Sendable (Bool) -> Void) {
        guard !isStopped.load(ordering: .relaxed) else { return completion(false) }
        // The loop keeps the order.
        eventLoop.execute { [counts] in
            guard let counts = counts() else { return completion(false) }
            counts.open(user, limit: limit, completion)
        }
    }

    func close(_ user: UserName) {
        guard !isStopped.load(ordering: .relaxed) else { return }
        eventLoop.execute { [counts] in counts()?.close(user) }
    }
}
