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

/// Writes down what a broker tells its node.
final class BrokerEventRecorder: ChannelBrokerEvents {
    struct Received: Sendable {
        let channel: String
        let text: String
        let envelope: ChannelEnvelope
        let position: ChannelPosition
    }
    struct Occupancy: Sendable, Equatable {
        let channel: String
        let isOccupied: Bool
    }
    private struct State: Sendable {
        var received: [Received] = []
        var incomplete = 0
        var occupancy: [Occupancy] = []
    }

    private let state = Mutex(State())

    /// All messages, in the order in which they came.
    var received: [Received] { state.withLock { $0.received } }
    /// The texts of one channel.
    func texts(_ channel: String) -> [String] { received.filter { $0.channel == channel }.map(\.text) }
    /// Messages that `receiveComplete` has not followed yet.
    var incomplete: Int { state.withLock { $0.incomplete } }
    /// First and last subscribers.
    var occupancy: [Occupancy] { state.withLock { $0.occupancy } }

    func received(_ envelope: ChannelEnvelope, at position: ChannelPosition) {
        let received = Received(
            channel: envelope.publication.channel.text,
            text: String(buffer: envelope.publication.payload),
            envelope: envelope,
            position: position
        )
        state.withLock { state in
            state.received.append(received)
            state.incomplete += 1
        }
    }

    func receiveComplete() { state.withLock { $0.incomplete = 0 } }

    func occupancyChanged(_ channel: ChannelName, isOccupied: Bool) {
        state.withLock { $0.occupancy.append(Occupancy(channel: channel.text, isOccupied: isOccupied)) }
    }

    func interrupted() {}
    func resumed(_ channel: ChannelName, isComplete: Bool) {}
}
