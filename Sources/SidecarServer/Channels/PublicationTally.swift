import SidecarCore
import Synchronization

/// What became of a publication, counted on all loops.
final class PublicationTally: Sendable {
    struct Counts: Sendable {
        var matched = 0
        var queued = 0
        var dropped = 0
    }

    private struct State: Sendable {
        var counts = Counts()
        var missing = 1
        var result: Result<ChannelPosition, ChannelFailure>?
        var continuation: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())
    /// Whether to wait until the kernel has taken the message.
    let waitsForKernel: Bool

    init(waitsForKernel: Bool) {
        self.waitsForKernel = waitsForKernel
    }

    /// So many loops will report.
    func begins(_ result: Result<ChannelPosition, ChannelFailure>, loops: Int) {
        finish { state in
            state.result = result
            state.missing += loops - 1
        }
    }

    /// So many loops will report on a message past all channels.
    func begins(loops: Int) {
        finish { $0.missing += loops - 1 }
    }

    /// A loop has delivered.
    func add(_ counts: Counts) {
        finish { state in
            state.counts.matched += counts.matched
            state.counts.queued += counts.queued
            state.counts.dropped += counts.dropped
            state.missing -= 1
        }
    }

    private func finish(_ change: (inout State) -> Void) {
        let waiting = state.withLock { state -> CheckedContinuation<Void, Never>? in
            change(&state)
            guard state.missing == 0 else { return nil }
            defer { state.continuation = nil }
            return state.continuation
        }
        waiting?.resume()
    }

    /// Waits for all loops.
    func result() async -> (Result<ChannelPosition, ChannelFailure>, Counts) {
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state in
                if state.missing == 0 { return true }
                state.continuation = continuation
                return false
            }
            if isDone { continuation.resume() }
        }
        return state.withLock { ($0.result ?? .failure(.unknownChannel), $0.counts) }
    }
}
