import NIOCore

/// Who reads a stream: the node that holds its lease.
///
/// ```
/// wanted --acquired--> held --renewed--> held
///   ^                    |
///   +---- refused, or not renewed in time
/// ```
struct IngestLease: Sendable {
    /// What has to be asked of the server.
    enum Action: Equatable {
        /// Take the lease if nobody has it, and make the consumer group if it is missing.
        case acquire
        /// Hold it for longer.
        case renew
    }

    private enum State: Equatable {
        /// Another node may have it.
        case wanted(nextAttempt: NIODeadline)
        /// This node has it.
        case held(until: NIODeadline, renewal: NIODeadline)
    }

    private let timing: IngestTiming
    private var state: State
    /// The command that has no answer yet, and when it was sent.
    private var asked: (action: Action, at: NIODeadline)?
    private var groupIsMissing = false
    private var pause: RetryPause
    /// Whether the server may know us as the holder.
    private(set) var mayBeKnown = false

    init(_ timing: IngestTiming, at now: NIODeadline) {
        self.timing = timing
        state = .wanted(nextAttempt: now)
        pause = RetryPause(timing.pauses)
    }

    /// Whether this node may read and publish.
    func isHeld(at now: NIODeadline) -> Bool {
        if case .held(let until, _) = state { return now < until }
        return false
    }

    /// When something has to be done without an event.
    var nextDue: NIODeadline? {
        switch state {
        case .wanted(let attempt): asked == nil ? attempt : nil
        case .held(let until, let renewal): asked == nil ? min(until, renewal) : until
        }
    }

    /// What to ask now.
    mutating func next(at now: NIODeadline) -> Action? {
        guard asked == nil else { return nil }
        let due: NIODeadline
        var action = Action.acquire
        switch state {
        case .wanted(let attempt): due = attempt
        case .held(_, let renewal):
            due = renewal
            if !groupIsMissing { action = .renew }
        }
        guard due <= now else { return nil }
        asked = (action, now)
        if action == .acquire { mayBeKnown = true }
        return action
    }

    /// The consumer group is not there: it is made by acquiring the lease once more.
    ///
    /// - Parameter next: When.
    mutating func groupIsMissing(next: NIODeadline) {
        guard case .held(let until, _) = state else { return }
        groupIsMissing = true
        state = .held(until: until, renewal: next)
    }

    /// Says once that the lease was not renewed in time.
    mutating func takeExpiry(at now: NIODeadline) -> Bool {
        guard case .held(let until, _) = state, until <= now else { return false }
        state = .wanted(nextAttempt: now)
        return true
    }

    /// The server has said that it is not ours any more.
    mutating func lose(at now: NIODeadline) {
        mayBeKnown = false
        state = .wanted(nextAttempt: now)
    }

    /// The server has given it to us, or renewed it.
    mutating func granted(at now: NIODeadline) {
        guard let asked else { return }
        self.asked = nil
        // Only what is acquired brings a lease back that is given up here.
        if case .wanted = state, asked.action == .renew { return }
        // From when it was asked, so that it ends here before it ends there.
        state = .held(until: asked.at + timing.lease - timing.margin, renewal: asked.at + timing.renewal)
        if asked.action == .acquire { groupIsMissing = false }
        pause.reset()
    }

    /// Another node has it.
    mutating func refused(at now: NIODeadline, using generator: inout some RandomNumberGenerator) {
        asked = nil
        mayBeKnown = false
        pause.reset()
        let range = timing.contention.lowerBound.nanoseconds...timing.contention.upperBound.nanoseconds
        state = .wanted(nextAttempt: now + .nanoseconds(Int64.random(in: range, using: &generator)))
    }

    /// The server could not be asked, or its answer is not known.
    mutating func failed(at now: NIODeadline, using generator: inout some RandomNumberGenerator) {
        asked = nil
        let next = now + pause.next(using: &generator)
        switch state {
        case .wanted: state = .wanted(nextAttempt: next)
        case .held(let until, _): state = .held(until: until, renewal: next)
        }
    }
}
