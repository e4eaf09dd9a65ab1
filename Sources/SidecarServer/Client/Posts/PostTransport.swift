import CoreMetrics
import DequeModule
import NIOCore
import SidecarCore

/// A transport whose client sends its frames in POSTs.
protocol PostTransport: SessionTransport {
    var posts: PostQueue { get }
    /// Whether a first POST is the repeat of the one that began it.
    func wasOpened(by post: ProtocolPost, _ key: OpeningKey?) -> Bool
    /// It is the POST's turn.
    func accept(_ post: ProtocolPost, _ pending: PendingPost)
    /// A POST that is not answered yet has come again.
    func again(_ pending: PendingPost)
    /// The connection of a POST has gone.
    func left(_ pending: PendingPost)
}

extension PostTransport {
    /// The number of its POST does: the first one may bring frames, too.
    var confirmsByFrames: Bool { false }
}

/// The POSTs of one client: brings them in order, answers repeats, and passes the frames on as fast as they are taken.
final class PostQueue {
    /// How long a POST waits for the one before.
    private static let patience = TimeAmount.seconds(5)

    /// What is kept to answer a repeat.
    struct Kept {
        let answer: PostAnswer
        /// The last message to the client in it; nil when that is not known.
        let seq: UInt64?
        let byteCount: Int
    }

    private let session: BridgeSession
    private weak var transport: (any PostTransport)?
    private let loop: ClientContext
    private var ledger: PostLedger<Kept>
    /// One that comes before its turn.
    private var early: (post: ProtocolPost, pending: PendingPost)?
    /// The next one, while there is no room for what it brings.
    private var blocked: (post: ProtocolPost, pending: PendingPost)?
    private let earlyTimer = CallbackTimer()
    private var frames: Deque<ByteBuffer> = []
    private var heldBytes = 0
    private var isProcessing = false

    /// - Parameter number: That of the last POST that is not to be taken any more.
    init(of session: BridgeSession, after number: UInt64 = 0, _ loop: ClientContext) {
        self.session = session
        self.loop = loop
        ledger = PostLedger(last: number)
    }

    /// - Parameter transport: Whose POSTs these are.
    func attach(_ transport: any PostTransport) { self.transport = transport }

    // MARK: The POSTs

    /// The number of the last one that was accepted.
    var last: UInt64 { ledger.last }

    func take(_ post: ProtocolPost, _ pending: PendingPost) {
        if post.number == ledger.last + 1, !fits(post) {
            blocked?.pending.reply(.nothing)
            blocked = (post, pending)
            return session.inputWaits()
        }
        switch ledger.arrived(post.number) {
        case .next:
            transport?.accept(post, pending)
            if let next = early, next.post.number == ledger.last + 1 { takeEarly() }
        case .unanswered:
            loop.metrics.posts[.repeated].increment()
            transport?.again(pending)
        case .answered(let kept):
            loop.metrics.posts[.repeated].increment()
            pending.reply(kept.answer)
            // Like a message, so that it is not for free.
            _ = session.isAllowed(payloadBytes: 0, at: .now())
        case .early:
            refuseEarly()
            early = (post, pending)
            waitForTurn()
        case .outOfTurn: refuse(pending)
        }
    }

    /// Whether there is room for what a POST brings; always when that is nothing, or nothing waits.
    private func fits(_ post: ProtocolPost) -> Bool {
        frames.isEmpty || post.frames.isEmpty
            || heldBytes + Self.cost(of: post.frames) <= loop.configuration.maxPostBytes
    }

    private func takeBlocked() {
        if let next = blocked.take() { take(next.post, next.pending) }
    }

    private func takeEarly() {
        guard let next = early.take() else { return }
        earlyTimer.cancel(in: loop.timers)
        take(next.post, next.pending)
    }

    private func waitForTurn() {
        earlyTimer.arm(in: loop.timers, at: .now() + Self.patience) { [weak self] _ in
            guard let self, early != nil else { return }
            // The one before is there, and waits for room.
            if blocked == nil { refuseEarly() } else { waitForTurn() }
        }
    }

    private func refuseEarly() {
        if let late = early.take() { refuse(late.pending) }
    }

    private func refuse(_ pending: PendingPost) {
        loop.metrics.posts[.outOfTurn].increment()
        pending.reply(.outOfTurn)
    }

    /// A POST has gone before its turn.
    func left(_ pending: PendingPost) {
        if early?.pending === pending { early = nil }
        if blocked?.pending === pending { blocked = nil }
    }

    /// A POST is answered.
    func answered(_ number: UInt64, _ kept: Kept) {
        // Who has sent this one has got the answer to the last but one.
        if let seq = ledger.answered(number, kept)?.seq { session.conversation?.hasGot(seq) }
    }

    /// What the kept answers hold, in bytes.
    var keptBytes: Int { ledger.kept.reduce(0) { $0 + $1.byteCount } }
    func forgetAnswers() { ledger.forget() }

    // MARK: Their frames

    var hasFrames: Bool { !frames.isEmpty || blocked != nil }

    /// Takes over the frames of a POST.
    func add(_ new: [ByteBuffer]) {
        frames.append(contentsOf: new)
        hold(Self.cost(of: new))
        process()
    }

    /// What frames count for while they wait, in bytes; also the smallest leads to an answer.
    private static func cost(of frames: [ByteBuffer]) -> Int {
        frames.reduce(0) { $0 + $1.readableBytes + SendQueue.messageOverhead }
    }

    private func hold(_ byteCount: Int) {
        heldBytes += byteCount
        loop.state.pendingBytes.adjust(by: byteCount)
    }

    /// Passes frames on to the session, as fast as it takes them.
    func process() {
        guard !isProcessing else { return }
        isProcessing = true
        passOn()
        isProcessing = false
        guard let next = blocked?.post, fits(next) else { return }
        // In its own turn, so that one client does not hold up the others.
        loop.eventLoop.assumeIsolated().execute { self.takeBlocked() }
    }

    private func passOn() {
        while let frame = frames.first, let transport, session.transport === transport,
            session.conversation?.isWelcomed == true
        {
            guard !session.mustPauseReading else { return session.inputWaits() }
            pass(frame)
        }
    }

    /// Passes the first frame on.
    private func pass(_ frame: ByteBuffer) {
        frames.removeFirst()
        hold(-Self.cost(of: [frame]))
        guard frame.readableBytes <= loop.configuration.settings.maxMessageBytes else { return refuseAsTooBig() }
        session.received(.text, frame, at: .now())
    }

    /// The connection ends: passes on all that was taken over, whether the session wants it now or not, unless that would
    /// be far too much.
    func passOnRest() {
        guard session.conversation?.isWelcomed == true, session.isRunning, !isProcessing else { return }
        let most = loop.configuration.settings.maxPendingBytes + loop.configuration.maxPostBytes
        isProcessing = true
        while let frame = frames.first, session.isRunning, session.pendingBytes < most { pass(frame) }
        isProcessing = false
    }

    private func refuseAsTooBig() {
        loop.metrics.limited(.messageTooBig, action: .closed)
        session.noteRefused(.messageBytes)
        session.countViolation()
        session.close(code: .tooBig, reason: "the message is too big", for: .tooBig)
    }

    /// Nothing is taken any more.
    func end() {
        earlyTimer.cancel(in: loop.timers)
        early.take()?.pending.reply(.ended)
        blocked.take()?.pending.reply(.ended)
        loop.metrics.messagesDropped(frames.count, reason: .closed)
        frames = []
        hold(-heldBytes)
        ledger.forget()
    }
}
