import NIOCore

/// Everything about reading a stream except the network and the clock: the lease, the reader and the end.
///
/// Events go in; ``next(at:)`` says what to do until it returns nil, and ``nextDue`` when to ask again.
struct IngestMachine: Sendable {
    /// What has to be done.
    enum Action: Equatable {
        /// Acquire the lease; a group that has to be made begins behind this entry.
        case acquireLease(groupStart: EntryID?)
        /// Renew the lease.
        case renewLease
        /// Give up the lease.
        case releaseLease
        /// Read entries of the stream, or publish and acknowledge them.
        case reader(IngestReader.Action)
        /// Say that this node reads now.
        case reportGained
        /// Say that the lease is lost, and why.
        case reportLost(Loss)
        /// Close the connections; nothing follows.
        case close
    }

    /// Why the lease is lost.
    enum Loss: Equatable {
        /// It could not be renewed in time.
        case expired
        /// Another node has it.
        case taken
    }

    private enum Phase: Equatable {
        case running
        /// What is under way is awaited.
        case draining(until: NIODeadline)
        /// The lease is to be given up, or its answer is awaited.
        case releasing(isAsked: Bool)
        case closing
        case closed
    }

    private let timing: IngestTiming
    private var phase = Phase.running
    private var lease: IngestLease
    private var reader: IngestReader
    /// Whether the reader has the lease.
    private var isReading = false
    private var reports: [Action] = []

    init(_ timing: IngestTiming, at now: NIODeadline) {
        self.timing = timing
        lease = IngestLease(timing, at: now)
        reader = IngestReader(timing)
    }

    /// Whether the target could not take something.
    var isDelayed: Bool { reader.isDelayed }

    /// When something has to be done without an event; nil for never.
    var nextDue: NIODeadline? {
        switch phase {
        case .running: [lease.nextDue, reader.nextDue(isHeld: isReading)].compactMap(\.self).min()
        case .draining(let until): min(until, reader.nextDue(isHeld: false) ?? until)
        case .releasing, .closing, .closed: nil
        }
    }

    /// What to do next; nil when there is nothing for now.
    mutating func next(at now: NIODeadline) -> Action? {
        if !reports.isEmpty { return reports.removeFirst() }
        switch phase {
        case .running: return run(at: now)
        case .draining(let until):
            if now < until {
                if let action = reader.next(at: now, isHeld: false) { return .reader(action) }
                guard reader.isSettled else { return nil }
            }
            phase = .releasing(isAsked: false)
            return next(at: now)
        case .releasing(false):
            phase = lease.mayBeKnown ? .releasing(isAsked: true) : .closing
            return lease.mayBeKnown ? .releaseLease : next(at: now)
        case .closing:
            phase = .closed
            return .close
        case .releasing, .closed: return nil
        }
    }

    private mutating func run(at now: NIODeadline) -> Action? {
        if lease.takeExpiry(at: now) {
            lost(.expired)
            if !reports.isEmpty { return reports.removeFirst() }
        }
        switch lease.next(at: now) {
        case .acquire: return .acquireLease(groupStart: reader.groupStart)
        case .renew: return .renewLease
        case nil: return reader.next(at: now, isHeld: isReading).map { .reader($0) }
        }
    }

    private mutating func lost(_ loss: Loss) {
        guard isReading else { return }
        isReading = false
        reader.end()
        reports.append(.reportLost(loss))
    }

    // MARK: The lease

    /// The lease is ours, and there is a group.
    mutating func leaseAcquired(at now: NIODeadline) {
        lease.granted(at: now)
        guard phase == .running, lease.isHeld(at: now) else { return }
        if !isReading { reports.append(.reportGained) }
        isReading = true
        reader.begin()
    }

    /// The lease is ours for longer.
    mutating func leaseRenewed(at now: NIODeadline) { lease.granted(at: now) }

    /// Another node has the lease.
    mutating func leaseRefused(at now: NIODeadline, using generator: inout some RandomNumberGenerator) {
        lease.refused(at: now, using: &generator)
        lost(.taken)
    }

    /// The server could not be asked for the lease, or refused, or its answer is not known.
    mutating func leaseFailed(at now: NIODeadline, using generator: inout some RandomNumberGenerator) {
        lease.failed(at: now, using: &generator)
    }

    /// The lease was given up, or that failed and it ends by itself.
    mutating func leaseReleased() {
        if case .releasing = phase { phase = .closing }
    }

    // MARK: Reading

    /// Reading has come to its end.
    mutating func answered(
        _ answer: IngestReader.Answer,
        at now: NIODeadline,
        using generator: inout some RandomNumberGenerator
    ) {
        reader.answered(answer, at: now, using: &generator)
        if answer == .groupMissing, let due = reader.groupDue { lease.groupIsMissing(next: due) }
    }

    /// A read was refused because another node has the lease.
    mutating func readRefused(at now: NIODeadline, using generator: inout some RandomNumberGenerator) {
        // The answer is of no use whether or not the lease has come back since.
        reader.answered(.failed, at: now, using: &generator)
        guard isReading else { return }
        lease.lose(at: now)
        lost(.taken)
    }

    /// Waiting for an entry has come to its end.
    mutating func waited(_ isOver: Bool, at now: NIODeadline) { reader.waited(isOver, at: now) }

    /// The target has stored a message, or will never take it.
    mutating func finished(_ item: IngestItem, at now: NIODeadline) { reader.finished(item, at: now) }

    /// The target cannot take a message now.
    mutating func postponed(
        _ item: IngestItem,
        at now: NIODeadline,
        using generator: inout some RandomNumberGenerator
    ) {
        reader.postponed(item, at: now, isHeld: isReading, using: &generator)
    }

    /// A batch of acknowledgements has come to its end.
    mutating func acknowledged(
        _ isDone: Bool,
        at now: NIODeadline,
        using generator: inout some RandomNumberGenerator
    ) {
        reader.acknowledged(isDone, at: now, using: &generator)
    }

    // MARK: The end

    /// Nothing new is begun; what is under way is awaited, acknowledged, and the lease given up.
    mutating func stop(at now: NIODeadline) {
        guard phase == .running else { return }
        phase = .draining(until: now + timing.drain)
        isReading = false
        reader.end()
    }
}
