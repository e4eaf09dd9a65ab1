import NIOCore
import SidecarCore
import Synchronization

/// Passes calls from any thread on to the ``BanMirror`` of a node.
final class RedisBans: ClusterBans {
    private let eventLoop: any EventLoop
    private let mirror: @Sendable () -> BanMirror?
    private let isStopped = Atomic<Bool>(false)

    /// - Parameters:
    ///   - eventLoop: The node's.
    ///   - mirror: Called on it.
    init(on eventLoop: any EventLoop, _ mirror: @escaping @Sendable () -> BanMirror?) {
        self.eventLoop = eventLoop
        self.mirror = mirror
    }

    /// The loop will run no more; what is asked for fails at once.
    func stop() { isStopped.store(true, ordering: .relaxed) }

    func put(_ ban: ClusterBan, isAutomatic: Bool) async throws(StoreFailure) -> BanTable.Addition {
        try await ask { $0.put(ban, isAutomatic: isAutomatic, $1) }
    }

    func remove(_ subject: BanSubject) async throws(StoreFailure) -> Bool { try await ask { $0.remove(subject, $1) } }

    private func ask<Answer: Sendable>(
        _ body: @escaping @Sendable (BanMirror, @escaping (Result<Answer, StoreFailure>) -> Void) -> Void
    ) async throws(StoreFailure) -> Answer {
        guard !isStopped.load(ordering: .relaxed) else { throw .unavailable("Sidesocket is stopping.") }
        let answer: Result<Answer, StoreFailure> = await withCheckedContinuation { continuation in
            eventLoop.execute { [mirror] in
                guard let mirror = mirror() else {
                    return continuation.resume(returning: .failure(.unavailable("The cluster is not ready.")))
                }
                body(mirror) { continuation.resume(returning: $0) }
            }
        }
        return try answer.get()
    }
}
