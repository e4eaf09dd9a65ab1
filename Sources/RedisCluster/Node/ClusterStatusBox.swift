import Synchronization

/// Whether the engine is there, for health checks and metrics; any thread may ask.
final class ClusterStatusBox: Sendable {
    private struct State {
        var isUp = false
        var why = "not connected yet"
    }

    private let state = Mutex(State())

    var isUp: Bool { state.withLock { $0.isUp } }
    /// Why it is not.
    var why: String { state.withLock { $0.why } }

    /// It has come or gone. The client logs that.
    func changed(isUp: Bool, _ why: String) { state.withLock { $0 = State(isUp: isUp, why: why) } }
}
