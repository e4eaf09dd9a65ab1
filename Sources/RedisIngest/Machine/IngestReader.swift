import DequeModule
import NIOCore

/// Reads a stream as long as this node has the lease: first what was taken and not acknowledged, then what is new.
///
/// It publishes the entries of a channel one after the other and acknowledges each when it is stored.
struct IngestReader: Sendable {
    /// What has to be done.
    enum Action: Equatable {
        /// Read entries; after this id those that were taken before, without one new ones.
        case read(after: EntryID?, count: Int, bytes: Int)
        /// Wait for an entry behind this one, for a bounded time.
        case wait(after: EntryID)
        /// Publish a message.
        case publish(IngestItem)
        /// Count and log an entry that cannot be published.
        case report(TakenEntry)
        /// Acknowledge entries.
        case acknowledge([EntryID])
    }

    /// What came of reading.
    enum Answer: Equatable {
        /// Entries in their order.
        ///
        /// - Parameter lastDelivered: The last entry that was taken, when there was no new one.
        case taken([TakenEntry], Remainder, lastDelivered: EntryID?)
        /// The consumer group is missing.
        case groupMissing
        /// It failed, or its outcome is not known.
        case failed
    }

    /// What is behind the entries that were read.
    enum Remainder: Int64, Equatable {
        /// Nothing.
        case nothing = 0
        /// Perhaps more, since reading ended at a bound of ours.
        case perhaps = 1
        /// Entries that were taken, and had no room in the answer.
        case taken = 2
    }

    private enum Phase: Equatable {
        /// Without the lease, or without the group.
        case idle
        /// Reading what was taken before, behind this entry.
        case catchingUp(after: EntryID)
        /// Reading what is new; with an id, there was nothing behind it.
        case live(restsAfter: EntryID?)
    }

    private enum Question: Equatable {
        case reading, waiting
    }

    private let timing: IngestTiming
    private var phase = Phase.idle
    /// What has no answer yet; a stale answer is of no use, because the lease was lost meanwhile.
    private var asked: (question: Question, isStale: Bool)?
    private var notBefore: NIODeadline?
    private var pause: RetryPause
    private var lanes: IngestLanes
    private var acknowledgements: Acknowledgements
    private var reports: Deque<TakenEntry> = []
    /// All entries that were taken and are not acknowledged.
    private var known: Set<EntryID> = []
    private var lastTaken: EntryID?
    /// What a new group would have to begin behind, since entries were given up to the stream.
    private var floor: EntryID?

    init(_ timing: IngestTiming) {
        self.timing = timing
        pause = RetryPause(timing.pauses)
        lanes = IngestLanes(pauses: timing.pauses)
        acknowledgements = Acknowledgements(batch: timing.batch, gathering: timing.gathering, pauses: timing.pauses)
    }

    /// Behind which entry a consumer group has to begin if it was deleted; nil for all entries.
    var groupStart: EntryID? { [floor, known.min()?.predecessor ?? lastTaken].compactMap(\.self).min() }
    /// Whether nothing is under way or to be acknowledged.
    var isSettled: Bool { lanes.underWay == 0 && acknowledgements.isEmpty }
    /// Whether the target could not take something.
    var isDelayed: Bool { lanes.isDelayed }

    // MARK: The lease

    /// This node has the lease, and there is a group.
    mutating func begin() {
        phase = .catchingUp(after: .zero)
        notBefore = nil
    }

    /// The lease is lost, or given up: what is under way goes on, the next reader gets everything else.
    mutating func end() {
        floor = groupStart
        phase = .idle
        if asked != nil { asked?.isStale = true }
        known.subtract(lanes.dropWaiting())
    }

    // MARK: What to do

    /// When something has to be done without an event.
    func nextDue(isHeld: Bool) -> NIODeadline? {
        var dues = [acknowledgements.nextDue]
        if isHeld {
            dues.append(lanes.nextDue)
            if phase != .idle, asked == nil, hasRoom { dues.append(notBefore) }
        }
        return dues.compactMap(\.self).min()
    }

    /// What to do next; nil when there is nothing for now.
    mutating func next(at now: NIODeadline, isHeld: Bool) -> Action? {
        if let report = reports.popFirst() { return .report(report) }
        if let batch = acknowledgements.next(at: now) { return .acknowledge(batch) }
        guard isHeld else { return nil }
        if let item = lanes.next(at: now) { return .publish(item) }
        guard asked == nil, notBefore.map({ $0 <= now }) ?? true else { return nil }
        notBefore = nil
        switch phase {
        case .idle: return nil
        case .live(let last?):
            asked = (.waiting, false)
            return .wait(after: last)
        case .catchingUp(let after): return read(after: after)
        case .live(nil): return read(after: nil)
        }
    }

    /// Reads in batches, not whenever a single place is free.
    private var hasRoom: Bool {
        known.count + timing.batch <= timing.maxEntries && lanes.bytes < timing.maxBytes
    }

    private mutating func read(after: EntryID?) -> Action? {
        guard hasRoom else { return nil }
        asked = (.reading, false)
        return .read(
            after: after,
            count: timing.batch,
            bytes: max(1, min(timing.batchBytes, timing.maxBytes - lanes.bytes))
        )
    }

    // MARK: Answers

    /// Reading has come to its end.
    mutating func answered(
        _ answer: Answer,
        at now: NIODeadline,
        using generator: inout some RandomNumberGenerator
    ) {
        guard let asked, asked.question == .reading else { return }
        self.asked = nil
        guard !asked.isStale else { return }
        switch answer {
        case .taken(let entries, let remainder, let lastDelivered):
            pause.reset()
            for entry in entries { add(entry, at: now) }
            advance(entries.last?.id, remainder, lastDelivered: lastDelivered, at: now)
        case .groupMissing:
            phase = .idle
            notBefore = now + pause.next(using: &generator)
        case .failed:
            // What was taken all the same is with the stream, behind or between what is known here.
            phase = .catchingUp(after: .zero)
            notBefore = now + pause.next(using: &generator)
        }
    }

    private mutating func advance(
        _ last: EntryID?,
        _ remainder: Remainder,
        lastDelivered: EntryID?,
        at now: NIODeadline
    ) {
        switch phase {
        case .idle: break
        case .catchingUp:
            if let last {
                phase = .catchingUp(after: last)
            } else {
                phase = .live(restsAfter: nil)
                floor = nil
            }
        case .live:
            if let last, remainder == .taken {
                phase = .catchingUp(after: last)
                return
            }
            phase = .live(restsAfter: remainder == .nothing ? last ?? lastDelivered : nil)
            // Without an entry to wait behind, nothing else would keep an empty stream from being read all the time.
            if last == nil, lastDelivered == nil { notBefore = now + timing.polling }
        }
    }

    private mutating func add(_ entry: TakenEntry, at now: NIODeadline) {
        lastTaken = max(lastTaken ?? entry.id, entry.id)
        guard known.insert(entry.id).inserted else { return }
        switch entry.content {
        case .message(let message):
            lanes.append(IngestItem(id: entry.id, entry: message, age: entry.age, takenAt: now))
        case .bad, .removed:
            reports.append(entry)
            acknowledgements.add(entry.id, at: now)
        }
    }

    /// Waiting has come to its end.
    ///
    /// - Parameter isOver: Whether the server was asked: it has an entry, or there was none in time.
    mutating func waited(_ isOver: Bool, at now: NIODeadline) {
        guard let asked, asked.question == .waiting else { return }
        self.asked = nil
        guard !asked.isStale, case .live = phase else { return }
        phase = .live(restsAfter: nil)
        if !isOver { notBefore = now + timing.polling }
    }

    /// When the group that is missing should be made again.
    var groupDue: NIODeadline? { phase == .idle ? notBefore : nil }

    /// A message is stored, or can never be.
    mutating func finished(_ item: IngestItem, at now: NIODeadline) {
        lanes.finished(item.channel)
        acknowledgements.add(item.id, at: now)
    }

    /// The target cannot take a message now.
    ///
    /// - Parameter isHeld: Whether it is for this node to try again.
    mutating func postponed(
        _ item: IngestItem,
        at now: NIODeadline,
        isHeld: Bool,
        using generator: inout some RandomNumberGenerator
    ) {
        guard isHeld else {
            floor = groupStart
            lanes.finished(item.channel)
            known.remove(item.id)
            return
        }
        lanes.failed(item.channel, at: now, using: &generator)
    }

    /// The batch of acknowledgements has come to its end.
    mutating func acknowledged(
        _ isDone: Bool,
        at now: NIODeadline,
        using generator: inout some RandomNumberGenerator
    ) {
        guard isDone else { return acknowledgements.failed(at: now, using: &generator) }
        known.subtract(acknowledgements.succeeded())
    }
}
