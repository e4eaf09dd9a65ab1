import CoreMetrics
import NIOCore
import SidecarCore

/// Registers the sessions of one event loop with the engine, many at once.
///
/// One batch is under way at a time; what comes meanwhile goes with the next. So an entry is never overtaken by its own
/// removal.
final class LoopRegistrations {
    /// The time between two batches: a single client does not wait, and many share the cost of the way to the engine.
    private static let pause = TimeAmount.milliseconds(10)
    /// The pause before what has failed is tried again.
    private static let retryPause = TimeAmount.seconds(2)
    /// The most sessions of a batch.
    private static let batch = 500
    /// How long removals wait for others to go with. Whoever takes the node for lost meanwhile tells the app once more.
    private static let strikePause = TimeAmount.milliseconds(20)
    /// The most removals of a batch.
    private static let mostStruckAtOnce = 1000
    /// The most removals that wait for the engine; more than that are left to the node's end.
    private static let mostStruck = 100_000

    private let directory: any ConnectionRegister
    private let registry: SessionRegistry
    private let eventLoop: any EventLoop
    private var queued: [BridgeSession] = []
    private var struck: [String] = []
    /// Those who wait for the next batch.
    private var waiting: [() -> Void] = []
    private var isUnderWay = false
    private var isScheduled = false
    private var lastSent = NIODeadline.distantPast
    private var isStrikeDue = false
    private var isRetryDue = false
    /// False while the engine does not answer: then nobody waits for it.
    private var isWaitedFor = true
    private let unregistered = Counter(label: "sidesocket_cluster_unregistered_total")

    init(_ directory: any ConnectionRegister, of registry: SessionRegistry, on eventLoop: any EventLoop) {
        self.directory = directory
        self.registry = registry
        self.eventLoop = eventLoop
    }

    /// Whether the engine knows all that it can be told.
    var isSettled: Bool { !isWaitedFor || !isUnderWay && queued.isEmpty && struck.isEmpty }

    /// Registers a session; calls when it is done, or cannot be done now.
    func enter(_ session: BridgeSession, _ body: @escaping () -> Void) {
        session.registration?.isWanted = true
        enqueue(session)
        if isWaitedFor { waiting.append(body) } else { body() }
    }

    /// What is known of a session has changed.
    func changed(_ session: BridgeSession) {
        if session.registration?.isWanted == true { enqueue(session) }
    }

    /// A session has ended, and the app knows it.
    func leave(_ session: BridgeSession) {
        guard let registration = session.registration, registration.isWanted else { return }
        registration.isWanted = false
        registration.isEntering = false
        if struck.count < Self.mostStruck { struck.append(session.id) }
        guard !isStrikeDue else { return }
        isStrikeDue = true
        eventLoop.assumeIsolated().scheduleTask(in: Self.strikePause) {
            self.isStrikeDue = false
            self.schedule()
        }
    }

    /// Some of the sessions have to be registered again.
    func again(_ which: Reregistration) {
        for session in registry.all {
            guard let registration = session.registration, registration.isWanted else { continue }
            switch which {
            case .missing: if registration.isMissing { enqueue(session) }
            case .all: enqueue(session)
            case .anew(let claimed):
                if claimed.contains(session.id) {
                    // No longer this node's.
                    registration.isWanted = false
                    session.closeAsClaimed()
                } else {
                    // Counted as missing when it was, or not at all.
                    registration.isMissing = registration.isMissing || registration.isRegistered
                    registration.isRegistered = false
                    enqueue(session)
                }
            }
        }
        schedule()
    }

    private func enqueue(_ session: BridgeSession) {
        guard let registration = session.registration, !registration.isQueued else { return }
        registration.isQueued = true
        queued.append(session)
        schedule()
    }

    private func schedule() {
        guard !isScheduled, !isUnderWay else { return }
        isScheduled = true
        let pause = lastSent + Self.pause - .now()
        if pause > .zero {
            eventLoop.assumeIsolated().scheduleTask(in: pause) { self.send() }
        } else {
            // At the end of the turn, so that what comes in it goes together.
            eventLoop.assumeIsolated().execute { self.send() }
        }
    }

    private func send() {
        isScheduled = false
        guard !isUnderWay, !queued.isEmpty || !struck.isEmpty else { return }
        isUnderWay = true
        lastSent = .now()
        let batch = Array(queued.prefix(Self.batch))
        queued.removeFirst(batch.count)
        var register: [RegisteredConnection] = []
        for session in batch {
            guard let registration = session.registration else { continue }
            registration.isQueued = false
            guard registration.isWanted else { continue }
            register.append(
                RegisteredConnection(
                    id: session.id,
                    connection: registration.record,
                    identity: session.identity.facts.record
                )
            )
        }
        let struck = Array(self.struck.prefix(Self.mostStruckAtOnce))
        self.struck.removeFirst(struck.count)
        // Those of later batches wait with them: their turn is near.
        let waiting = queued.isEmpty ? self.waiting : []
        if queued.isEmpty { self.waiting = [] }
        let bound = NIOLoopBound((self, batch, struck, waiting), eventLoop: eventLoop)
        directory.change(register: register, strike: struck) { [eventLoop] isDone in
            eventLoop.execute {
                let (registrations, batch, struck, waiting) = bound.value
                registrations.sent(batch, struck, waiting, isDone)
            }
        }
    }

    private func sent(_ batch: [BridgeSession], _ struck: [String], _ waiting: [() -> Void], _ isDone: Bool) {
        isUnderWay = false
        isWaitedFor = isDone
        for session in batch {
            guard let registration = session.registration else { continue }
            if isDone {
                registration.isRegistered = true
                registration.isMissing = false
            } else if registration.isWanted {
                if !registration.isMissing, !registration.isRegistered { unregistered.increment() }
                registration.isMissing = true
            }
        }
        if !isDone {
            self.struck = struck + self.struck
            // Nobody waits until the engine answers again.
            let rest = self.waiting
            self.waiting = []
            for body in waiting + rest { body() }
            return retryLater()
        }
        for body in waiting { body() }
        if !queued.isEmpty || !self.struck.isEmpty { schedule() }
    }

    /// The engine is asked again from time to time, also when it does not say that anything has changed.
    private func retryLater() {
        guard !isRetryDue else { return }
        isRetryDue = true
        eventLoop.assumeIsolated().scheduleTask(in: Self.retryPause) { self.retry() }
    }

    private func retry() {
        isRetryDue = false
        again(.missing)
    }
}
