import Logging
import NIOCore
import NIOSSL

/// A connection to a server: requests in a pipeline, replies in the same order, messages in between.
///
/// It greets the server, probes it, and gives itself up when it is silent. Who owns it replaces it.
final class RedisConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// What became of a request.
    enum Acceptance {
        /// It is sent, or about to be.
        case accepted
        /// Too much is unanswered.
        case full
        /// The connection takes no requests any more.
        case closed
    }

    enum State {
        case greeting
        case ready
        /// No new requests; closed when the last reply is there.
        case retired
        case closed
    }

    let address: RedisAddress
    let eventLoop: any EventLoop
    let maxPendingBytes: Int
    private let usesTLS: Bool
    private weak var lifecycle: (any ConnectionLifecycle)?
    /// Held until the connection is closed, so that every request gets its answer.
    private(set) var traffic: (any ConnectionTraffic)?

    private var greeting: ServerGreeting
    private var decoder: RESPDecoder
    private(set) var state = State.greeting
    /// Why it was closed or retired.
    private(set) var fault: ConnectionFault?
    var pending = PendingQueue<PendingReply>(keepsPlaces: true)
    var scripts = ScriptLedger()
    /// How many channels of the batch that stands first are confirmed.
    var confirmedOfFirst = 0
    /// The server has refused the batch that stands first.
    var firstIsRefused = false
    private var probe = RoleProbe.info
    private var replicationID: String?
    private var watch: ConnectionWatch
    private var timer: LoopTimer?
    private var context: ChannelHandlerContext?
    private var outgoing = ByteBuffer()
    /// Requests from this number on are still in ``outgoing``.
    private var flushedNumber: UInt64 = 0
    private var isReading = false
    private var flushIsScheduled = false

    init(
        address: RedisAddress,
        purpose: ServerGreeting.Purpose,
        configuration: RedisConfiguration,
        eventLoop: any EventLoop
    ) {
        self.address = address
        self.eventLoop = eventLoop
        maxPendingBytes = configuration.maxPendingBytes
        usesTLS = configuration.tls != nil
        greeting = ServerGreeting(purpose: purpose, credentials: ServerGreeting.Credentials(configuration))
        decoder = RESPDecoder(limits: configuration.limits)
        watch = ConnectionWatch(
            probeInterval: configuration.probeInterval,
            probeTimeout: configuration.probeTimeout,
            now: eventLoop.now
        )
    }

    // MARK: For the owner

    /// Greets the server as soon as the connection stands, and from then on tells these two.
    func start(lifecycle: any ConnectionLifecycle, traffic: (any ConnectionTraffic)?) {
        self.lifecycle = lifecycle
        self.traffic = traffic
        if context?.channel.isActive == true { begin() }
    }

    /// Sends a request behind those that were sent before.
    func send(_ request: RedisRequest) -> Acceptance {
        guard state == .ready else { return .closed }
        guard pending.bytes + scripts.heldBytes + request.size <= maxPendingBytes else { return .full }
        if scripts.isHolding {
            scripts.hold(request)
        } else {
            write(request)
        }
        rearm()
        return .accepted
    }

    /// Sends a batch of subscriptions.
    func send(_ batch: SubscriptionBatch) {
        guard state == .ready else { return }
        pending.append(.subscription(batch), bytes: batch.maxEncodedBytes)
        compose { buffer in
            buffer.writeRESPCommandHead(argumentCount: batch.channels.count + 1)
            buffer.writeRESPArgument(batch.kind.command)
            for channel in batch.channels { buffer.writeRESPArgument(channel.name) }
            if batch.needsFence { RoleProbe.ping.command.write(to: &buffer) }
        }
    }

    /// Takes no more requests and closes when those that are on their way have been answered.
    func retire(_ fault: ConnectionFault) {
        switch state {
        case .greeting: return close(fault)
        case .retired, .closed: return
        case .ready: state = .retired
        }
        self.fault = fault
        lifecycle?.connectionEnded(self, fault)
        failHeld(fault)
        closeIfDone()
    }

    /// Closes the connection; what was not answered fails.
    func close(_ fault: ConnectionFault) {
        guard state != .closed else { return }
        let wasRetired = state == .retired
        state = .closed
        if !wasRetired { self.fault = fault }
        timer?.cancel()
        outgoing = ByteBuffer()
        if !wasRetired { lifecycle?.connectionEnded(self, fault) }
        failPending(fault)
        failHeld(fault)
        traffic = nil
        context?.close(promise: nil)
    }

    // MARK: Writing

    func write(_ request: RedisRequest) {
        if request.asks {
            pending.append(.asking)
            compose { RedisCommand("ASKING", slotKey: nil).write(to: &$0) }
        }
        var withSource = false
        if let script = request.command.script {
            withSource = request.needsSource || !scripts.isLoaded(script)
            scripts.loaded(script)
        }
        pending.append(
            .request(request, withSource: withSource),
            bytes: request.size,
            deadline: request.deadline
        )
        compose { request.command.write(to: &$0, withSource: withSource) }
    }

    private func sendOwn(_ command: RedisCommand, _ reply: PendingReply) {
        pending.append(reply)
        compose { command.write(to: &$0) }
    }

    private func compose(_ body: (inout ByteBuffer) -> Void) {
        body(&outgoing)
        guard !isReading, !flushIsScheduled else { return }
        flushIsScheduled = true
        eventLoop.assumeIsolated().execute {
            self.flushIsScheduled = false
            self.flush()
        }
    }

    private func flush() {
        guard state != .closed, let context, context.channel.isActive, outgoing.readableBytes > 0 else { return }
        let bytes = outgoing
        outgoing = ByteBuffer()
        flushedNumber = pending.nextNumber
        context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
    }

    // MARK: Time

    private func rearm() {
        guard let deadline = pending.nextDeadline() else { return }
        timer?.setNoLater(than: deadline)
        if let held = scripts.nextDeadline() { timer?.setNoLater(than: held) }
    }

    private func timeHasCome() {
        let now = eventLoop.now
        for case .request(let request, _) in pending.expire(at: now) {
            traffic?.connection(self, failed: request, .unknown(.timeout))
        }
        for request in scripts.expire(at: now) {
            traffic?.connection(self, failed: request, request.expiry(nil))
        }
        closeIfDone()
        checkSilence(now)
        guard state != .closed else { return }
        rearm()
    }

    private func checkSilence(_ now: NIODeadline) {
        guard state != .closed else { return }
        switch watch.check(at: now) {
        case .wait(let deadline): timer?.setNoLater(than: deadline)
        case .giveUp: close(.network(silenceSentence))
        case .probe:
            sendOwn(probe.command, .probe(probe, sentAt: now))
            checkSilence(now)
        }
    }

    private var silenceSentence: String {
        guard state == .greeting else { return "\(address) has been silent for too long." }
        return "\(address) has been silent since the connection was made; \(encryptionHint)"
    }

    private var endSentence: String {
        guard state == .greeting else { return "\(address) closed the connection." }
        return "\(address) closed the connection at once; \(encryptionHint)"
    }

    /// The wrong choice shows as silence or as an end, depending on the server.
    private var encryptionHint: String {
        usesTLS ? "is it a TLS port?" : "does it want TLS (rediss://)?"
    }

    private func closeIfDone() {
        if state == .retired, pending.liveCount == 0 { close(.closed) }
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        timer = LoopTimer(eventLoop: eventLoop) { [weak self] in self?.timeHasCome() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        close(.network("The connection to \(address) was closed."))
        timer?.cancel()
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        begin()
        context.fireChannelActive()
    }

    private func begin() {
        // Of several attempts at one host name, only that which is used has an owner.
        guard lifecycle != nil, state == .greeting, pending.count == 0 else { return }
        let now = eventLoop.now
        watch.received(at: now)
        sendOwn(greeting.begin(), .greeting)
        flush()
        checkSilence(now)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard state != .closed else { return }
        isReading = true
        watch.received(at: eventLoop.now)
        var input = unwrapInboundIn(data)
        do {
            while state != .closed, let value = try decoder.next(&input) { take(value) }
        } catch {
            close(.network("\(address): \(error.sentence)"))
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        traffic?.connectionReadComplete(self)
        isReading = false
        flush()
        closeIfDone()
        context.fireChannelReadComplete()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let fault = ConnectionFault.of(error, at: address)
        guard state == .greeting, fault.kind == .network else { return close(fault) }
        close(.network("\(fault.sentence) Before the greeting was over: \(encryptionHint)"))
    }

    func channelInactive(context: ChannelHandlerContext) {
        close(.network(endSentence))
        context.fireChannelInactive()
    }

    // MARK: Replies

    private func take(_ value: RESPValue) {
        if case .push(let items) = value {
            takePush(items)
            return
        }
        if case .subscription(let batch)? = pending.first {
            takeReply(value, to: batch)
            return
        }
        switch pending.popFirst() {
        case nil:
            // A server that has no room for us says so before it hears anything.
            if case .error(let reply) = value { return close(.network("\(address) refused us: \(reply.shown)")) }
            protocolFault("a reply that nobody asked for")
        case .late: releaseHeld()
        case .element(.asking), .element(.subscription): break
        case .element(.greeting): takeGreeting(value)
        case .element(.probe(let probe, let sentAt)): takeProbe(value, probe, sentAt)
        case .element(.request(let request, let withSource)): takeReply(value, request, withSource)
        }
    }

    private func takeReply(_ value: RESPValue, _ request: RedisRequest, _ withSource: Bool) {
        if case .error(let reply) = value, reply.code == "NOSCRIPT", !withSource, request.command.script != nil {
            scripts.refused(request, lastInFlight: pending.nextNumber)
        } else {
            traffic?.connection(self, answered: request, value)
        }
        releaseHeld()
    }

    /// What went on as not to be sent before others were answered.
    private func releaseHeld() {
        guard state != .closed, scripts.isHolding, pending.firstNumber >= scripts.barrier else { return }
        if state == .retired { return failHeld(.network("The server is no longer the master.")) }
        for request in scripts.release() { write(request) }
        rearm()
    }

    private func takeGreeting(_ value: RESPValue) {
        switch greeting.received(value) {
        case .send(let command): sendOwn(command, .greeting)
        case .fail(let fault): close(ConnectionFault(kind: fault.kind, sentence: "\(address): \(fault.sentence)"))
        case .ready(let server, let probe):
            self.probe = probe
            replicationID = server.replicationID
            state = .ready
            watch.allowProbes(at: eventLoop.now)
            checkSilence(eventLoop.now)
            lifecycle?.connectionReady(self, server: server)
        }
    }

    private func takeProbe(_ value: RESPValue, _ sent: RoleProbe, _ sentAt: NIODeadline) {
        watch.probeAnswered()
        traffic?.connection(self, probedIn: eventLoop.now - sentAt)
        if case .error(let reply) = value {
            // A busy server answers with an error, too; it lives.
            if reply.code == "NOPERM" { probe = sent.weaker }
            return
        }
        guard let role = sent.role(in: value) else { return }
        guard role.isMaster else { return retire(.role("\(address) is no longer the master.")) }
        guard let id = role.replicationID, id != replicationID else { return }
        replicationID = id
        traffic?.connection(self, changedIdentity: id)
    }

    func protocolFault(_ what: String) {
        close(.network("\(address) sent \(what)."))
    }

    // MARK: The end

    private func failPending(_ fault: ConnectionFault) {
        while let place = pending.popFirst() {
            guard case .element(.request(let request, _)) = place else { continue }
            // The place before the first is the one just taken.
            let wasFlushed = pending.firstNumber <= flushedNumber
            let closed = fault.kind == .closed
            let failure: RedisFailure
            if wasFlushed {
                failure = .unknown(.connectionLost(fault.sentence))
            } else {
                failure = .notSent(closed ? .closed : .unavailable(fault.sentence))
            }
            traffic?.connection(self, failed: request, failure)
        }
    }

    private func failHeld(_ fault: ConnectionFault) {
        let failure = RedisFailure.notSent(fault.kind == .closed ? .closed : .unavailable(fault.sentence))
        for request in scripts.release() { traffic?.connection(self, failed: request, failure) }
    }
}
