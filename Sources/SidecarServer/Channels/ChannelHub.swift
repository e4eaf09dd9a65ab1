import CoreMetrics
import DequeModule
import NIOCore
import SidecarCore
import Synchronization

/// A publication on its way to the subscribers of one event loop.
struct ChannelDelivery: Sendable {
    let message: SharedMessage
    let channel: ChannelName
    let cursor: StreamCursor?
    /// The connection that does not get it, and the same as a stream's cursor has it.
    let excluded: (id: String, reader: UInt64)?
    let policy: ChannelPolicy?
    let tally: PublicationTally?
}

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

/// Hands publications to the event loops that have subscribers, in the order of their places.
final class ChannelHub: Sendable {
    let engine: MemoryChannelEngine
    /// What the app is told of channels; nil when `CHANNEL_EVENTS` is off.
    let occupancy: Occupancy?
    private let rules: ChannelRules
    private let servesStreams: Bool
    private let inboxes = Mutex<[ChannelInbox]>([])
    private let duration = Timer(label: "sidesocket_publish_duration_seconds")
    private let byReply = Counter(label: "sidesocket_publications_total", dimensions: [("source", "reply")])
    private let byAPI = Counter(label: "sidesocket_publications_total", dimensions: [("source", "api")])
    private let queued = Counter(label: "sidesocket_deliveries_total", dimensions: [("result", "queued")])
    private let dropped = Counter(label: "sidesocket_deliveries_total", dimensions: [("result", "dropped")])

    enum Source { case reply, api }

    init(settings: Settings) {
        rules = ChannelRules(settings)
        servesStreams = settings.ssePaths != nil
        let occupancy = settings.channelEvents ? Occupancy() : nil
        self.occupancy = occupancy
        engine = MemoryChannelEngine(
            rules: rules,
            maxHistoryBytes: settings.maxHistoryBytes,
            servesStreams: servesStreams,
            makeEpoch: { .random(in: 1 ... .max) },
            occupancyChanged: occupancy?.changed
        )
    }

    /// Adds an event loop; returns its number.
    func add(_ inbox: ChannelInbox) -> Int {
        inboxes.withLock {
            $0.append(inbox)
            return $0.count - 1
        }
    }

    /// Gives a message its place and queues it on every loop with subscribers.
    func publish(_ publication: Publication, excluding id: String?, from source: Source, tally: PublicationTally? = nil)
    {
        let message = SharedMessage(
            publication.format,
            publication.payload,
            channel: publication.channel,
            event: publication.event
        )
        let excluded = id.map { (id: $0, reader: StreamCursor.reader($0)) }
        let policy = rules.policy(for: publication.channel)
        (source == .reply ? byReply : byAPI).increment()
        let all = inboxes.withLock { $0 }
        var toWake: [ChannelInbox] = []
        engine.publish(
            publication,
            excluding: excluded?.reader,
            now: AdmissionGuard.now(),
            unixMilliseconds: WallClock.unixMilliseconds()
        ) { result, loops in
            guard case .success(let position) = result else {
                tally?.begins(result, loops: 0)
                return
            }
            let interested = all.indices.filter { loops.contains($0) }
            tally?.begins(result, loops: interested.count)
            let delivery = ChannelDelivery(
                message: message,
                channel: publication.channel,
                cursor: servesStreams ? position.cursor : nil,
                excluded: excluded,
                policy: policy,
                tally: tally
            )
            for index in interested where all[index].append(delivery) { toWake.append(all[index]) }
        }
        for inbox in toWake { inbox.wake() }
    }

    func delivered(_ counts: PublicationTally.Counts, since start: NIODeadline) {
        if counts.queued > 0 { queued.increment(by: counts.queued) }
        if counts.dropped > 0 { dropped.increment(by: counts.dropped) }
        duration.recordNanoseconds((NIODeadline.now() - start).nanoseconds)
    }
}

/// The publications that wait for one event loop.
final class ChannelInbox: Sendable {
    private struct State: Sendable {
        var deliveries: Deque<(ChannelDelivery, NIODeadline)> = []
        var isAwake = false
    }

    private let state = Mutex(State())
    private let eventLoop: any EventLoop
    private let drain: @Sendable () -> Void

    /// - Parameter drain: Called on the loop when something has come.
    init(eventLoop: any EventLoop, drain: @escaping @Sendable () -> Void) {
        self.eventLoop = eventLoop
        self.drain = drain
    }

    /// Adds one; true when the loop has to be woken for it.
    func append(_ delivery: ChannelDelivery) -> Bool {
        let now = NIODeadline.now()
        return state.withLock { state in
            state.deliveries.append((delivery, now))
            defer { state.isAwake = true }
            return !state.isAwake
        }
    }

    func wake() {
        eventLoop.execute { self.drain() }
    }

    /// Takes all that waits.
    func take() -> Deque<(ChannelDelivery, NIODeadline)> {
        state.withLock { state in
            defer { state = State() }
            return state.deliveries
        }
    }
}
