import CoreMetrics
import HTTP1
import NIOCore
import SidecarCore

/// Carries a session in POSTs, each of which is answered when there is something to say (long polling, RFC 6202 §2.1).
///
/// It has no connection of its own: between two polls what is sent waits in its send queue, for a while.
final class PollTransport: PostTransport, SendBufferHolder, TimerOwner {
    /// How long a client may take for its next poll before its session waits for it as for any lost client.
    static let patience = TimeAmount.seconds(15)
    /// A replay goes out in answers of about this size, in bytes.
    private var portion: Int { min(64 << 10, loop.configuration.settings.maxSendBufferBytes / 4) }

    /// How it began; kept until the client is known to have got the answer.
    struct Opening {
        /// What the first POST has shown.
        let token: ResumeToken.Hash?
        /// What identifies the first POST.
        let key: OpeningKey?
        /// What the app has said; nil where it was not asked.
        let acceptance: HTTPReplyHead?
    }

    private struct Poll {
        let number: UInt64
        let pending: PendingPost
        let since: NIODeadline
    }

    private let session: BridgeSession
    private let loop: ClientContext
    private let output: ClientOutput
    let posts: PostQueue
    private var opening: Opening?
    private var waiting: Poll?
    private var idleSince = NIODeadline.now()
    private let timer = TimerEntry()
    private var willAnswer = false
    private var isEnding = false
    private var accountedBytes = 0

    init(_ session: BridgeSession, _ opening: Opening, _ loop: ClientContext) {
        self.session = session
        self.loop = loop
        self.opening = opening
        output = ClientOutput(owner: session, codec: .protocolPolls, flushes: loop.flushes, buffers: loop.sendBuffers)
        posts = PostQueue(of: session, loop)
        posts.attach(self)
    }

    // MARK: Polls

    func wasOpened(by post: ProtocolPost, _ key: OpeningKey?) -> Bool {
        guard let opening else { return false }
        if case .session(let token) = post.sender { return token.hash == opening.token }
        return key != nil && key == opening.key
    }

    func accept(_ post: ProtocolPost, _ pending: PendingPost) {
        if let older = waiting { respond(to: older, .nothing, as: .replaced) }
        waiting = Poll(number: post.number, pending: pending, since: .now())
        arm()
        if post.number > 1 {
            opening = nil
            session.conversation?.confirm()
            // Those that bring nothing are counted like a message, so that they are not for free.
            if post.frames.isEmpty, !session.isAllowed(payloadBytes: 0, at: .now()) { return }
        }
        posts.add(post.frames)
        answerSoon()
    }

    func again(_ pending: PendingPost) {
        waiting?.pending.reply(.nothing)
        waiting = Poll(number: posts.last, pending: pending, since: .now())
        arm()
        answerSoon()
    }

    func left(_ pending: PendingPost) {
        posts.left(pending)
        guard waiting?.pending === pending else { return }
        waiting = nil
        idleSince = .now()
        arm()
        // It has no session yet.
        if session.resumeAttempt != nil { lose() }
    }

    /// Answers when the event loop has done what it does now, which may bring more.
    private func answerSoon() {
        guard waiting != nil, !willAnswer else { return }
        willAnswer = true
        loop.eventLoop.assumeIsolated().execute { [self] in
            willAnswer = false
            guard !isEnding else { return }
            posts.process()
            answer()
        }
    }

    private func answer() {
        guard let waiting, !isEnding, output.hasWaiting else { return }
        let messages = output.takeWaiting()
        respond(to: waiting, .frames(messages.map(\.header), opening?.acceptance), as: .frames)
        for message in messages {
            for receipt in message.receipts { receipt.settle(wasWritten: true) }
        }
        session.outputIsClear()
    }

    private func respond(to poll: Poll, _ answer: PostAnswer, as result: PostResult) {
        loop.metrics.posts[result].increment()
        if waiting?.pending === poll.pending { waiting = nil }
        idleSince = .now()
        let seq = session.conversation.flatMap { $0.isLive ? $0.stream.last : nil }
        var byteCount = 0
        if case .frames(let body, _) = answer { byteCount = body.readableBytes }
        posts.answered(poll.number, .init(answer: answer, seq: byteCount > 0 ? seq : nil, byteCount: byteCount))
        accountUnsent(unsentBytes)
        arm()
        poll.pending.reply(answer)
    }

    // MARK: Output

    func send(_ format: MessageFormat, _ payload: ByteBuffer) {
        guard !isEnding else { return loop.metrics.messagesDropped(1, reason: .clientGone) }
        guard isClear || output.makeRoom(for: payload.readableBytes) else { return }
        output.append(.init(header: payload, payload: nil))
        answerSoon()
    }

    func sendIfPossible(_ format: MessageFormat, _ payload: ByteBuffer, of channel: ChannelName) -> Bool {
        guard !isEnding, output.makeRoom(for: payload.readableBytes, of: channel, .dropNewest) else { return false }
        output.append(.init(header: payload, payload: nil))
        answerSoon()
        return true
    }

    func send(_ message: PreparedMessage) -> Bool {
        send(.text, message.encoded(by: .protocolPolls))
        return !isEnding
    }

    func send(_ delivery: ChannelDelivery) -> Bool {
        let message = delivery.message
        guard !isEnding else { return false }
        let byteCount = message.payload.readableBytes
        guard isClear || output.makeRoom(for: byteCount, of: delivery.channel, in: delivery, message.action) else {
            return false
        }
        var waiting = SendQueue.Message(header: message.encoded(by: .protocolPolls, in: delivery), payload: nil)
        waiting.channel = delivery.channel
        waiting.delivery = delivery
        output.append(waiting)
        answerSoon()
        return true
    }

    /// More is written into an answer until it has a fair size.
    var isClear: Bool { output.unsentBytes < portion }

    func whenWritten(_ receipt: WriteReceipt) { output.whenWritten(receipt) }

    // MARK: Input

    var hasInputWaiting: Bool { posts.hasFrames }
    func resumeReading() { posts.process() }

    // MARK: The end

    func close(code: SessionCloseCode, reason: String, farewell: [ByteBuffer]) {
        guard !isEnding else { return }
        let last = farewell.isEmpty ? [ProtocolEncoding.json.write(.bye(code, reconnectAfter: nil))] : farewell
        let answer = PostAnswer.frames(output.takeWaiting().map(\.header) + last)
        // Of what waits nothing is kept for a client that may not ask.
        if let newestToken { loop.state.farewells[newestToken] = .frames(last) }
        if let waiting { respond(to: waiting, answer, as: .frames) }
        end()
        // The session may be in the middle of its own end.
        loop.eventLoop.assumeIsolated().execute { [self] in
            session.transportEnded(self, code: code, reason: reason, initiator: .server)
        }
    }

    /// The last token that the client has been given, for when the session has forgotten it.
    private var newestToken: ResumeToken.Hash?
    func note(_ token: ResumeToken.Hash) { newestToken = token }

    /// No poll has come for too long.
    private func lose() {
        guard !isEnding else { return }
        session.transportEnded(self, code: .abnormal, reason: "", initiator: .network)
        end()
    }

    private func end() {
        isEnding = true
        waiting = nil
        loop.timers.cancel(timer)
        posts.end()
        output.connectionLost()
        accountUnsent(0)
    }

    // MARK: Deadlines

    private var deadline: NIODeadline {
        waiting.map { $0.since + loop.configuration.settings.pollTimeout } ?? idleSince + Self.patience
    }

    private func arm() {
        if !isEnding { loop.timers.arm(timer, owner: self, at: deadline) }
    }

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        guard now >= deadline else { return deadline }
        if let waiting {
            respond(to: waiting, .frames([ByteBuffer]()), as: .empty)
        } else if posts.hasFrames {
            idleSince = now  // what it has sent still goes to the app
        } else {
            lose()
        }
        return isEnding ? nil : deadline
    }

    func settingsChanged(isOfTransport: Bool) { arm() }

    // MARK: Kept answers

    var unsentBytes: Int { posts.keptBytes }

    func accountUnsent(_ bytes: Int) {
        let old = accountedBytes
        accountedBytes = bytes
        loop.sendBuffers.changed(self, from: old, to: bytes)
    }

    /// A client that repeats a POST has to resume its session then.
    func shed(beyond share: Int) {
        session.noteLimited(by: .totalSendBuffer, nil)
        posts.forgetAnswers()
        accountUnsent(0)
    }
}
