import NIOCore
import Synchronization

/// The engine's wall clock, as far as its answers show it.
final class EngineClock: Sendable {
    private struct State {
        /// What the engine's clock is ahead of ours, in milliseconds.
        var offset: Int64 = 0
        /// The round trip of the question that showed it.
        var roundTrip = Int64.max
        var isKnown = false
    }

    private let state = Mutex(State())
    private let unixMilliseconds: @Sendable () -> Int64

    /// - Parameter unixMilliseconds: Our own wall clock.
    init(unixMilliseconds: @escaping @Sendable () -> Int64) {
        self.unixMilliseconds = unixMilliseconds
    }

    /// Milliseconds since 1970 by the engine's clock; by ours until an answer has shown the difference.
    var now: Int64 { unixMilliseconds() &+ state.withLock { $0.offset } }

    /// How long ago the engine's clock showed a time, in milliseconds; nil while the difference is not known.
    func age(of time: Int64) -> Int64? {
        let (offset, isKnown) = state.withLock { ($0.offset, $0.isKnown) }
        return isKnown ? max(0, unixMilliseconds() &+ offset &- time) : nil
    }

    /// The engine has told its time.
    ///
    /// - Parameter roundTrip: How long the question took; the answer is wrong by half of it at most.
    func learned(_ time: Int64, roundTrip: TimeAmount) {
        let milliseconds = roundTrip.nanoseconds / 1_000_000
        let offset = time &+ milliseconds / 2 &- unixMilliseconds()
        state.withLock { state in
            // A better answer counts, and one that shows that a clock was set.
            let isFar = (offset &- state.offset).magnitude > (milliseconds &+ 20).magnitude
            guard !state.isKnown || milliseconds <= state.roundTrip || isFar else { return }
            state = State(offset: offset, roundTrip: milliseconds, isKnown: true)
        }
    }
}
