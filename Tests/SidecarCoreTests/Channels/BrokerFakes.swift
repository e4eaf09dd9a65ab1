import NIOCore
import SidecarCore
import Synchronization

/// Time that passes when a test says so.
final class ManualChannelClock: Sendable {
    private let nanoseconds = Atomic<Int64>(0)

    var clock: ChannelClock {
        ChannelClock(
            monotonic: { self.nanoseconds.load(ordering: .relaxed) },
            unixMilliseconds: { self.nanoseconds.load(ordering: .relaxed) / 1_000_000 }
        )
    }

    func set(_ time: Int64) { nanoseconds.store(time, ordering: .relaxed) }
    func advance(by amount: TimeAmount) { nanoseconds.wrappingAdd(amount.nanoseconds, ordering: .relaxed) }
}

/// Epochs 1, 2, 3 and so on.
final class EpochCounter: Sendable {
    private let last = Atomic<UInt64>(0)

    func next() -> UInt64 { last.wrappingAdd(1, ordering: .relaxed).newValue }
}

/// What a callback says, for a test that expects it within the call.
final class AnswerBox<Value: Sendable>: Sendable {
    private let answer = Mutex<Value?>(nil)

    var value: Value? { answer.withLock { $0 } }

    func set(_ value: Value) { answer.withLock { $0 = value } }
}
