import DequeModule
public import NIOCore

/// The order of one connection's events: one at a time, `open` first, `close` last and exactly once.
///
/// ```
///            accepted                 ended                      close answered
/// opening ─────────────▶ running ───────────────▶ ending ──────────────────────▶ finished
///    │ refused                (messages before the end are still delivered)         ▲
///    └──────────────────────────────────────────────────────────────────────────────┘
/// ```
/// The machine holds the waiting messages and counts their bytes; it does not know sockets, frames or HTTP.
public struct SessionStateMachine: Sendable {
    /// What to do next.
    public enum Step: Sendable, Equatable {
        /// Hand this event to the app; no other is in flight.
        case deliver(Delivery)
        /// Nothing to do now.
        case wait
        /// The last event is done; the session can be forgotten.
        case finish
    }

    /// What a waiting message counts for beyond its payload, in bytes, so that empty messages are bounded too.
    public static let messageOverhead = 128

    private enum Phase: UInt8 {
        case opening, running, ending, finished
    }

    private var phase = Phase.opening
    private var eventInFlight = false
    private var sequence: UInt64 = 0
    /// What waits for its turn.
    private enum Item: Sendable {
        case message(QueuedMessage)
        /// One without bytes: a revalidation, or what has become of the client.
        case event(SessionEvent)
    }

    private var queue: Deque<Item> = []
    /// Whether a revalidation waits.
    private var revalidates = false
    private let maxBatch: Int
    private var inFlightBytes = 0
    private var report: CloseReport?
    private var isReportFinal = false
    private var isLost = false
    private var acceptedAt: NIODeadline?

    /// Bytes received and not yet answered by the app, ``messageOverhead`` per message included.
    public private(set) var pendingBytes = 0
    /// Data messages received so far.
    public private(set) var messagesIn = 0
    /// Data messages sent so far.
    public private(set) var messagesOut = 0

    /// A session whose `open` event has not been delivered.
    ///
    /// - Parameter maxBatch: How many waiting messages are delivered at once, at least 1.
    public init(maxBatch: Int = 1) {
        self.maxBatch = max(maxBatch, 1)
    }

    /// A session of an earlier process, whose client has gone: the events that are still owed are delivered.
    ///
    /// - Parameters:
    ///   - sequence: The last event that need not be delivered any more; `open` is 1.
    ///   - messagesIn: Data messages received, without those that now follow by ``received(_:_:at:since:)``.
    public init(resumingAfter sequence: UInt64, messagesIn: Int, at now: NIODeadline) {
        maxBatch = 1
        phase = .running
        self.sequence = max(sequence, 1)
        self.messagesIn = max(messagesIn, 0)
        acceptedAt = now
    }

    /// A session of a lost node, of whose end the app has to be told: its close event has no sequence, written as 0.
    public init(lostAt now: NIODeadline) {
        maxBatch = 1
        phase = .ending
        report = .lost
        isReportFinal = true
        isLost = true
        acceptedAt = now
    }

    /// Where a session stands that goes on elsewhere.
    public struct Standing: Sendable, Equatable {
        /// The sequence of the last event.
        public var sequence: UInt64
        /// Data messages received.
        public var messagesIn: Int
        /// Data messages sent.
        public var messagesOut: Int
        /// Time since the accepted handshake.
        public var age: TimeAmount

        /// A standing.
        public init(sequence: UInt64, messagesIn: Int, messagesOut: Int, age: TimeAmount) {
            self.sequence = sequence
            self.messagesIn = messagesIn
            self.messagesOut = messagesOut
            self.age = age
        }
    }

    /// Where it stands; nil while an event is in flight or waits, since those cannot go elsewhere.
    public func standing(at now: NIODeadline) -> Standing? {
        guard phase == .running, isQuiet else { return nil }
        return Standing(sequence: sequence, messagesIn: messagesIn, messagesOut: messagesOut, age: age(at: now))
    }

    /// A session that goes on here.
    public init(_ standing: Standing, maxBatch: Int, at now: NIODeadline) {
        self.maxBatch = max(maxBatch, 1)
        phase = .running
        sequence = standing.sequence
        messagesIn = standing.messagesIn
        messagesOut = standing.messagesOut
        acceptedAt = now - standing.age
    }

    /// The close event of a session of a lost node.
    public mutating func tellLoss() -> Step { isLost && !eventInFlight ? next() : .wait }

    /// The sequence that the next message to arrive will have.
    public var nextSequence: UInt64 { queuedSequences.upperBound }
    /// The sequences that the waiting messages will have.
    public var queuedSequences: Range<UInt64> {
        sequence + 1..<sequence + UInt64(queue.count) + 1
    }

    /// Ends a session of an earlier process with the report that was recorded then.
    public mutating func ended(with report: CloseReport) -> Step {
        guard phase == .running, self.report == nil else { return .wait }
        self.report = report
        isReportFinal = true
        phase = .ending
        return eventInFlight ? .wait : next()
    }

    /// Messages that wait behind the one in flight; for tests.
    var queuedMessages: Int { queue.count { if case .message = $0 { true } else { false } } }
    /// True between the accepted handshake and the end of the connection.
    public var isRunning: Bool { phase == .running }
    /// True before the app has decided about the handshake, while the client is there.
    public var isOpening: Bool { phase == .opening && report == nil }
    /// True when the connection has ended, whether or not its close event was delivered.
    public var hasEnded: Bool { report != nil || phase == .ending || phase == .finished }
    /// True once the app has accepted the handshake.
    public var wasAccepted: Bool { acceptedAt != nil }
    /// True when the connection has ended and its close event has not been answered.
    public var owesClose: Bool { phase == .ending }
    /// True when no event is in flight and none waits.
    public var isQuiet: Bool { !eventInFlight && queue.isEmpty }

    /// Time since the accepted handshake; zero before it.
    public func age(at now: NIODeadline) -> TimeAmount {
        acceptedAt.map { now - $0 } ?? .zero
    }

    /// Starts with the `open` event.
    public mutating func begin() -> Step {
        guard phase == .opening, !eventInFlight else { return .wait }
        return deliver(.open)
    }

    /// The app accepted the handshake at `now`.
    ///
    /// If the client has gone meanwhile, the app considers it connected, so its close event follows.
    public mutating func accepted(at now: NIODeadline) -> Step {
        guard phase == .opening, eventInFlight else { return .wait }
        eventInFlight = false
        acceptedAt = now
        phase = report == nil ? .running : .ending
        return next()
    }

    /// The handshake was refused or failed; there will be no close event.
    public mutating func refused() {
        guard phase == .opening else { return }
        phase = .finished
        eventInFlight = false
    }

    /// A data message arrived.
    ///
    /// - Parameters:
    ///   - label: What a client of the protocol says of it.
    ///   - time: When, in milliseconds since 1970.
    ///   - since: The same by the monotonic clock, for measuring.
    public mutating func received(
        _ format: MessageFormat,
        _ payload: ByteBuffer,
        label: MessageLabel? = nil,
        at time: Int64? = nil,
        since: NIODeadline? = nil
    ) -> Step {
        guard phase == .running else { return .wait }
        let message = QueuedMessage(format: format, payload: payload, label: label, time: time, since: since)
        messagesIn += 1
        pendingBytes += message.bytes
        if eventInFlight {
            queue.append(.message(message))
            return .wait
        }
        return deliver(message)
    }

    /// Asks the app whether the client is still welcome, after the messages that wait.
    public mutating func revalidate() -> Step {
        guard phase == .running, !revalidates else { return .wait }
        revalidates = true
        return tell(.revalidate)
    }

    /// Tells the app of something that has happened, after the messages that wait.
    ///
    /// An absence that is over before its turn has come is not told, so that a client that comes and goes while the app is
    /// slow does not make the queue longer and longer.
    ///
    /// - Parameter event: One without bytes.
    public mutating func tell(_ event: SessionEvent) -> Step {
        guard phase == .running else { return .wait }
        if event.kind == .resumed, case .event(let last)? = queue.last, last.kind == .detached {
            queue.removeLast()
            return .wait
        }
        queue.append(.event(event))
        return eventInFlight ? .wait : next()
    }

    /// A data message went out to the client.
    public mutating func sent() {
        messagesOut += 1
    }

    /// The app has replied to the event in flight, or its delivery has finally failed.
    public mutating func answered() -> Step {
        guard eventInFlight, phase != .opening else { return .wait }
        eventInFlight = false
        pendingBytes -= inFlightBytes
        inFlightBytes = 0
        if phase == .ending, report == nil {
            phase = .finished
            return .finish
        }
        return next()
    }

    /// The connection has ended; only the first call counts.
    ///
    /// The close event follows the messages that are waiting.
    public mutating func ended(
        code: SessionCloseCode,
        reason: String,
        initiator: CloseInitiator,
        at now: NIODeadline
    ) -> Step {
        guard phase == .running || phase == .opening, report == nil else { return .wait }
        report = CloseReport(
            code: code,
            reason: reason,
            initiator: initiator,
            messagesIn: messagesIn,
            messagesOut: messagesOut,
            durationMilliseconds: max(age(at: now).nanoseconds / 1_000_000, 0)
        )
        if phase == .opening { return .wait }
        phase = .ending
        return eventInFlight ? .wait : next()
    }

    /// Drops the messages that wait, and returns their number.
    ///
    /// Used when the app closes the session or fails: later messages will not be processed.
    public mutating func discardQueue() -> Int {
        var dropped = 0
        for case .message(let message) in queue {
            pendingBytes -= message.bytes
            dropped += 1
        }
        queue = []
        revalidates = false
        return dropped
    }

    private mutating func next() -> Step {
        if let first = queue.popFirst() {
            defer { if queue.isEmpty { queue = [] } }  // an idle session keeps no storage
            switch first {
            case .event(let event):
                if event.kind == .revalidate { revalidates = false }
                // Also when the client has gone meanwhile: the messages behind it have their sequences already.
                return deliver(event)
            case .message(let message):
                let others = message.needsAnswer ? [] : takeBatch(of: maxBatch - 1)
                return others.isEmpty ? deliver(message) : deliver([message] + others)
            }
        }
        guard phase == .ending, var last = report else { return .wait }
        if !isReportFinal {
            last.messagesIn = messagesIn
            last.messagesOut = messagesOut
        }
        report = nil
        return deliver(.close(last))
    }

    /// Takes the messages that go into one request with the one before them.
    private mutating func takeBatch(of count: Int) -> [QueuedMessage] {
        var batch: [QueuedMessage] = []
        while batch.count < count, case .message(let message)? = queue.first, !message.needsAnswer {
            batch.append(message)
            queue.removeFirst()
        }
        return batch
    }

    private mutating func deliver(_ message: QueuedMessage) -> Step {
        inFlightBytes = message.bytes
        return deliver(.message(message.format, message.payload, message.label), at: message.time, since: message.since)
    }

    private mutating func deliver(_ messages: [QueuedMessage]) -> Step {
        inFlightBytes = messages.reduce(0) { $0 + $1.bytes }
        return deliver(.batch(messages))
    }

    private mutating func deliver(
        _ event: SessionEvent,
        at time: Int64? = nil,
        since: NIODeadline? = nil
    ) -> Step {
        eventInFlight = true
        let delivery = Delivery(sequence: isLost ? 0 : sequence + 1, event: event, time: time, since: since)
        sequence = delivery.sequences.upperBound
        return .deliver(delivery)
    }
}
