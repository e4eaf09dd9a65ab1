import Logging
import NIOCore
import Synchronization

/// Whether the engine is there, for health checks and metrics; any thread may ask.
final class ClusterStatusBox: Sendable {
    private struct State {
        var isUp = false
        var why = "not connected yet"
    }

    private let state = Mutex(State())
    private let logger: Logger

    init(_ logger: Logger) { self.logger = logger }

    var isUp: Bool { state.withLock { $0.isUp } }
    /// Why it is not.
    var why: String { state.withLock { $0.why } }

    func changed(isUp: Bool, _ why: String) {
        state.withLock { $0 = State(isUp: isUp, why: why) }
        if isUp {
            logger.notice("the cluster's engine is up")
        } else {
            logger.error("the cluster's engine is away", metadata: ["why": "\(why)"])
        }
    }
}
