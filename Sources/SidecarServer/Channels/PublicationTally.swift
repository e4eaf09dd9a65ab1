import SidecarCore
import Synchronization

/// The result of a publication, counted on all loops of this node.
final class PublicationTally: Sendable {
    struct Counts: Sendable {
        var matched = 0
        var queued = 0
        var dropped = 0
    }

    private struct State: Sendable {
        var counts = Counts()
        /// Loops that have delivered.
        var reports = 0
        var isPublished = false
        var result: Result<ChannelPosition, ChannelFailure>?
        var continuation: CheckedContinuation<Void, Never>?
    }

    /// What is sent.
    let message: PreparedMessage
    /// Whether to wait until the kernel has taken the message.
    let waitsForKernel: Bool
    private let state = Mutex(State())
    /// The number of loops that will deliver; final once it is published.
    private let loops = Atomic<Int>(0)

    init(of message: PreparedMessage, waitsForKernel: Bool) {
        self.message = message
        self.waitsForKernel = waitsForKernel
    }

    /// This many more loops will report.
    func received(onLoops count: Int) { loops.wrappingAdd(count, ordering: .relaxed) }

    /// It has its position, or has failed; no more loops will be added.
    func published(_ result: Result<ChannelPosition, ChannelFailure>) {
        finish { state in
            state.result = result
            state.isPublished = true
        }
    }

    /// This many loops will report on a message to single sessions.
    func sent(toLoops count: Int) {
        received(onLoops: count)
        finish { $0.isPublished = true }
    }

    /// A loop has delivered.
    func add(_ counts: Counts) {
        finish { state in
            state.counts.matched += counts.matched
            state.counts.queued += counts.queued
            state.counts.dropped += counts.dropped
            state.reports += 1
        }
    }

    private func finish(_ change: (inout State) -> Void) {
        let waiting = state.withLock { state -> CheckedContinuation<Void, Never>? in
            change(&state)
            return isSettled(state) ? state.continuation.take() : nil
        }
        waiting?.resume()
    }

    private func isSettled(_ state: State) -> Bool {
        state.isPublished && state.reports == loops.load(ordering: .relaxed)
    }

    /// Waits for all loops.
    func result() async -> (Result<ChannelPosition, ChannelFailure>, Counts) {
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state in
                if isSettled(state) { return true }
                state.continuation = continuation
                return false
            }
            if isDone { continuation.resume() }
        }
        return state.withLock { ($0.result ?? .failure(.unknownChannel), $0.counts) }
    }
}
