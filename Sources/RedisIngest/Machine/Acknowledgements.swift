import NIOCore

/// Entries that are done and that the stream does not know so yet.
///
/// One batch is under way at a time, and a batch that is not full waits a little for others.
struct Acknowledgements: Sendable {
    private let batch: Int
    private let gathering: TimeAmount
    private var waiting: [EntryID] = []
    private var underWay: [EntryID] = []
    /// When the next batch is sent.
    private var notBefore: NIODeadline?
    private var hasFailed = false
    private var pause: RetryPause

    init(batch: Int, gathering: TimeAmount, pauses: ClosedRange<TimeAmount>) {
        self.batch = max(1, batch)
        self.gathering = gathering
        pause = RetryPause(pauses)
    }

    /// Whether everything is acknowledged.
    var isEmpty: Bool { waiting.isEmpty && underWay.isEmpty }
    /// When something can be tried again.
    var nextDue: NIODeadline? { waiting.isEmpty || !underWay.isEmpty ? nil : notBefore }

    /// An entry is done.
    mutating func add(_ id: EntryID, at now: NIODeadline) {
        if waiting.isEmpty, !hasFailed { notBefore = now + gathering }
        waiting.append(id)
    }

    /// Takes the next batch to send.
    mutating func next(at now: NIODeadline) -> [EntryID]? {
        guard underWay.isEmpty, !waiting.isEmpty else { return nil }
        let isFull = waiting.count >= batch && !hasFailed
        guard isFull || notBefore.map({ $0 <= now }) ?? true else { return nil }
        underWay = Array(waiting.prefix(batch))
        waiting.removeFirst(underWay.count)
        return underWay
    }

    /// The server has taken the batch.
    ///
    /// - Returns: What was in it.
    mutating func succeeded() -> [EntryID] {
        defer { underWay = [] }
        hasFailed = false
        pause.reset()
        return underWay
    }

    /// The server has not, or it is not known.
    mutating func failed(at now: NIODeadline, using generator: inout some RandomNumberGenerator) {
        waiting.insert(contentsOf: underWay, at: 0)
        underWay = []
        hasFailed = true
        notBefore = now + pause.next(using: &generator)
    }
}
