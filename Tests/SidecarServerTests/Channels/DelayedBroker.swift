import NIOCore
import SidecarCore
import Synchronization

/// A broker out of process, as the test plays it: it answers and delivers only when it is told to, on any thread.
final class DelayedBroker: ChannelBroker {
    typealias ReplayAnswer = Result<Replay, ChannelFailure>

    /// What it was asked for, in words.
    private struct State: Sendable {
        var calls: [String] = []
        var replays: [@Sendable (ReplayAnswer) -> Void] = []
    }

    static let epoch: UInt64 = 10

    let events: any ChannelBrokerEvents
    private let state = Mutex(State())

    init(events: any ChannelBrokerEvents) {
        self.events = events
    }

    // MARK: What the test does

    /// What it has been asked for since the last call.
    func takeCalls() -> [String] {
        state.withLock { state in
            defer { state.calls = [] }
            return state.calls
        }
    }

    /// A message arrives.
    func receive(
        _ text: String,
        at sequence: UInt64,
        in channel: ChannelName,
        context: (any AnyObject & Sendable)? = nil
    ) {
        let publication = Publication(channel: channel, format: .text, payload: ByteBuffer(string: text))
        let position = ChannelPosition(offset: sequence, epoch: ChannelEpoch(1), mark: Self.mark(sequence))
        events.received(ChannelEnvelope(publication, context: context), at: position, time: nil)
        events.receiveComplete()
    }

    /// Messages of a channel are received again.
    func resume(_ channel: ChannelName, isComplete: Bool, at sequence: UInt64 = 1) {
        let position = ChannelPosition(offset: sequence, epoch: ChannelEpoch(1), mark: Self.mark(sequence))
        events.resumed(channel, isComplete: isComplete, at: position)
    }

    /// Answers the oldest request for a replay.
    func answer(_ answer: ReplayAnswer) {
        let completion = state.withLock { $0.replays.isEmpty ? nil : $0.replays.removeFirst() }
        completion?(answer)
    }

    /// Answers with the messages at these positions.
    func answer(_ sequences: ClosedRange<UInt64>, isComplete: Bool = true, bytes: Int = 0) {
        let messages = sequences.map { sequence in
            let text = String(repeating: "x", count: max(bytes, 1))
            let stored = StoredMessage(
                offset: sequence,
                id: MessageID(sequence),
                time: 0,
                format: .text,
                payload: ByteBuffer(string: text)
            )
            return Replay.Message(mark: Self.mark(sequence), message: stored)
        }
        let end = StreamCursor(epoch: Self.epoch, sequence: sequences.upperBound)
        answer(.success(Replay(messages: messages, isComplete: isComplete, upTo: end)))
    }

    private static func mark(_ sequence: UInt64) -> StreamMark { .process(epoch: epoch, sequence: sequence) }

    private func note(_ call: String) { state.withLock { $0.calls.append(call) } }

    // MARK: ChannelBroker

    func publish(_ envelope: ChannelEnvelope, id: String?, _ completion: PublishCompletion?) {
        note("publish \(envelope.publication.channel)")
    }

    func broadcast(
        _ event: ClientBroadcast,
        _ completion: @escaping @Sendable (Result<Void, ChannelFailure>) -> Void
    ) { note("broadcast \(event.channel)") }

    func announce(_ notice: MemberNotice, failed: @escaping @Sendable () -> Void) {
        let change = notice.change.map { "\($0.hasJoined ? "+" : "-")\($0.user)" } ?? "="
        note("announce \(notice.channel) \(change)")
    }

    func subscribe(
        _ channel: ChannelName,
        after position: ChannelPosition?,
        reader: UInt64,
        _ completion: (@Sendable (Result<ChannelReplay, ChannelFailure>) -> Void)?
    ) {
        note("subscribe \(channel)")
    }

    func unsubscribe(_ channel: ChannelName) { note("unsubscribe \(channel)") }

    func replay(
        of channels: [ChannelName],
        since cursor: StreamCursor?,
        room: Int,
        overhead: Int,
        _ completion: @Sendable @escaping (ReplayAnswer) -> Void
    ) {
        let names = channels.map(\.text).sorted().joined(separator: ",")
        note("replay \(names) since \(cursor?.sequence(in: Self.epoch).map { "\($0)" } ?? "?")")
        state.withLock { $0.replays.append(completion) }
    }

    func history(
        of channel: ChannelName,
        _ part: HistoryPart,
        epoch: String?,
        limit: Int
    ) async throws(ChannelFailure) -> ChannelHistory { throw .unavailable("a test") }

    func head(of channel: ChannelName) async throws(ChannelFailure) -> ChannelHead { throw .unavailable("a test") }

    func channels(prefix: String, after: String?, limit: Int) async throws(ChannelFailure) -> [ChannelHead] {
        throw .unavailable("a test")
    }

    var ordersEachChannel: Bool { false }
    var statistics: ChannelBrokerStatistics { ChannelBrokerStatistics(channels: 0, historyBytes: 0) }
}
