import NIOCore
import SidecarCore

/// Collects the replays of an event stream's channels, and merges them.
final class ReplayCollection {
    private typealias Part = HistoryReader.ChannelPart

    private let channels: [ChannelName]
    private let reader: UInt64
    private let room: Int
    private let overhead: Int
    private let completion: (Result<Replay, ChannelFailure>) -> Void
    private var parts: [Int: Part] = [:]
    private var failure: ChannelFailure?
    private var left: Int
    private var hasStarted = false

    init(
        _ channels: [ChannelName],
        reader: UInt64,
        _ room: Int,
        _ overhead: Int,
        _ completion: @escaping (Result<Replay, ChannelFailure>) -> Void
    ) {
        self.channels = channels
        self.reader = reader
        self.room = room
        self.overhead = overhead
        self.completion = completion
        left = channels.count
    }

    /// All parts have been asked for.
    func start() {
        hasStarted = true
        finishIfDone()
    }

    /// A part has come.
    func add(_ answer: Result<HistoryReader.ChannelPart, ChannelFailure>, at index: Int) {
        left -= 1
        switch answer {
        case .success(let part): parts[index] = part
        case .failure(let failure): self.failure = failure
        }
        finishIfDone()
    }

    private func finishIfDone() {
        guard hasStarted, left <= 0 else { return }
        completion(failure.map { .failure($0) } ?? .success(merged()))
    }

    /// By time, each channel in its order; the newest that fit.
    private func merged() -> Replay {
        var replay = Replay(messages: [], isComplete: true, upTo: StreamCursor(.channels([])))
        var left: [(channel: ChannelName, messages: ArraySlice<MessageFrame>)] = []
        for (index, channel) in channels.enumerated() {
            guard let part = parts[index] else { continue }
            if !part.isComplete { replay.isComplete = false }
            if let head = part.head { replay.upTo.advance(by: head.position(in: channel).mark) }
            left.append((channel, part.messages.filter { !$0.excludes(reader) }[...]))
        }
        var room = room
        var newestFirst: [Replay.Message] = []
        while let next = left.indices.max(by: {
            (left[$0].messages.last?.time ?? .min) < (left[$1].messages.last?.time ?? .min)
        }),
            let frame = left[next].messages.popLast()
        {
            room -= frame.body.payload.readableBytes + overhead
            guard room >= 0 else {
                replay.isComplete = false
                break
            }
            let mark = frame.point.position(in: left[next].channel).mark
            newestFirst.append(Replay.Message(mark: mark, message: frame.stored))
        }
        replay.messages = newestFirst.reversed()
        return replay
    }
}
