import DequeModule
import NIOCore
import SidecarCore

/// The sessions of one event loop, from the handshake until none of their events is owed to the app.
final class SessionRegistry {
    private let eventLoop: any EventLoop
    private var sessions: [String: BridgeSession] = [:]
    private var toDrain: Deque<BridgeSession> = []
    /// Events under way of sessions that have moved to another loop.
    private var relays: [ObjectIdentifier: DeliveryRelay] = [:]

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    var isEmpty: Bool { sessions.isEmpty && relays.isEmpty }
    /// All of them.
    var all: [BridgeSession] { Array(sessions.values) }

    func insert(_ session: BridgeSession) { sessions[session.id] = session }
    func remove(_ session: BridgeSession) { sessions[session.id] = nil }

    /// The session with this id.
    subscript(id: String) -> BridgeSession? { sessions[id] }

    /// The sessions with an open socket for which this is true.
    func open(where isWanted: (BridgeSession) -> Bool) -> [BridgeSession] {
        sessions.values.filter { ($0.isRunning || $0.awaitsToken) && isWanted($0) }
    }

    /// Passes on the result of an event whose session has moved.
    func relay(_ delivery: ConnectionEventDelivery, _ pass: @escaping (WebhookResult) -> Void) {
        let relay = DeliveryRelay { [weak self] result in
            self?.relays[ObjectIdentifier(delivery)] = nil
            pass(result)
        }
        relays[ObjectIdentifier(delivery)] = relay
        delivery.hand(to: relay)
    }

    // MARK: The end

    /// Refuses the handshakes that wait for their turn, and closes the sessions evenly over a time.
    func drain(over span: TimeAmount) {
        for session in all {
            if session.isRunning { toDrain.append(session) } else { session.drain() }
        }
        continueDrain(DrainSchedule(total: toDrain.count, startedAt: .now(), span: span))
    }

    private func continueDrain(_ schedule: DrainSchedule) {
        var schedule = schedule
        for _ in 0..<schedule.take(at: .now()) { nextToDrain()?.drain() }
        guard !schedule.isOver else { return }
        eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(20)) { self.continueDrain(schedule) }
    }

    /// The next session to close: first those without an event in flight; the others end when it is answered.
    private func nextToDrain() -> BridgeSession? {
        for _ in 0..<toDrain.count {
            guard let session = toDrain.popFirst() else { return nil }
            if session.isQuiet || !session.isRunning { return session }
            toDrain.append(session)
        }
        return toDrain.popFirst()
    }

    /// Ends all of them without waiting.
    ///
    /// - Returns: What becomes of the close events that were not delivered.
    func abandonAll() -> [CloseEventFate] { all.map { $0.abandon() } }
}

/// What becomes of a close event that could not be delivered during the drain.
enum CloseEventFate {
    /// It is on disk; the next process delivers it.
    case kept
    /// Other nodes tell the app instead.
    case left
    case lost
}

/// The owner of an event whose session has moved to another event loop.
final class DeliveryRelay: WebhookDeliveryOwner {
    private let pass: (WebhookResult) -> Void

    init(_ pass: @escaping (WebhookResult) -> Void) {
        self.pass = pass
    }

    func deliveryEnded(_ delivery: WebhookDelivery, _ result: WebhookResult) -> ReplyEffects {
        pass(result)
        return ReplyEffects()
    }
}
