import ServiceLifecycle
import Synchronization
import UnixSignals

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Waits for somebody to ask for a drain; its end shuts the group down.
final class DrainRequest: Service {
    private let requests: AsyncStream<Void>
    private let requested: AsyncStream<Void>.Continuation
    private let flag = Atomic<Bool>(false)
    private let onRequest: @Sendable () -> Void

    /// - Parameter onRequest: Called when a drain is asked for, once.
    init(onRequest: @escaping @Sendable () -> Void) {
        self.onRequest = onRequest
        (requests, requested) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    /// Asks for the drain.
    ///
    /// - Returns: False when somebody else has asked before.
    @discardableResult
    func make() -> Bool {
        guard !flag.exchange(true, ordering: .acquiringAndReleasing) else { return false }
        onRequest()
        requested.yield()
        return true
    }

    func run() async {
        for await _ in requests.cancelOnGracefulShutdown() { return }
    }
}
