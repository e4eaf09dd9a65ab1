import CoreMetrics
import NIOCore
import SidecarCore

/// A session on its way from one event loop to another one.
struct MovedSession: Sendable {
    let id: String
    let machine: SessionStateMachine
    let identity: ConnectionIdentity
    /// The claims and the expiry of its token.
    let token: TokenIdentity.Facts?
    let slots: SessionSlots.Moved
    let allowance: MessageAllowance
    let pendingBytes: BudgetShare
    let publications: Int
    let openedAt: Int64?
    let channels: [ChannelName]
    let conversation: MovedConversation
    let registration: SessionRegistration.Moved?
    /// Whether it had no client, as far as the app knows.
    let wasAbsent: Bool
    /// The event that the app has been asked about; its result follows.
    let hasEventUnderWay: Bool
    /// The session that it was, which is still in its channels; nil for one of another node.
    let origin: NIOLoopBound<BridgeSession>?
}

/// Moves a session to the event loop of the connection that resumes it, since nothing of a session is shared by two.
extension BridgeSession {
    /// Gives the session away, to a connection on any event loop.
    ///
    /// It stays in its channels until the receiver has joined them, so that they do not become empty in between.
    ///
    /// - Parameters:
    ///   - seq: The last message that the client has.
    ///   - attemptedAt: When that connection's handshake was accepted.
    /// - Returns: Nil when the session cannot go on with that.
    func surrender(
        to receiver: NIOLoopBound<BridgeSession>,
        seq: UInt64,
        attemptedAt: NIODeadline
    ) -> MovedSession? {
        // First, since that may end the session.
        passOnPosts()
        guard let conversation, slots.isSettled, canGoOn(from: seq, attemptedAt: attemptedAt) else { return nil }
        let wasAbsent = conversation.absence != nil
        if let transport {
            self.transport = nil
            closeAsReplaced(transport, conversation.encoding)
            clientLeft()
        }
        successor = receiver
        if let delivery {
            hasEventUnderWay = true
            context.registry.relay(delivery) { [self] result in pass(on: result, of: delivery) }
            self.delivery = nil
        }
        return pack(wasAbsent: wasAbsent)
    }

    /// Whether a client that has everything up to a number can go on with the session; it ends if not.
    ///
    /// An attempt that was held up on the way, and is older than the one that the session goes on with, is of no account.
    func canGoOn(from seq: UInt64, attemptedAt: NIODeadline) -> Bool {
        guard let conversation, conversation.canBeResumed, machine.isRunning, attemptedAt >= conversation.lastAttempt
        else { return false }
        if conversation.stream.acknowledge(seq), conversation.stream.frames(after: seq) != nil { return true }
        // The client cannot go on, and would try for ever.
        context.metrics.resumes[.behind].increment()
        endBehind()
        return false
    }

    func closeAsReplaced(_ transport: any SessionTransport, _ encoding: ProtocolEncoding) {
        let farewell = [encoding.write(.bye(.replaced, reconnectAfter: nil))]
        transport.close(code: .replaced, reason: "another connection has resumed the session", farewell: farewell)
    }

    /// All that goes along; what is left here is no session any more.
    ///
    /// - Parameter wasAbsent: Whether the app is told when its client is back, with `SESSION_EVENTS`.
    func pack(wasAbsent: Bool) -> MovedSession? {
        guard let conversation else { return nil }
        if conversation.absence != nil { context.state.detachedSessions.adjust(by: -1) }
        endPause()
        cancelIdentityTimers()
        let moved = MovedSession(
            id: id,
            machine: machine,
            identity: identity.facts,
            token: identity.token?.facts,
            slots: slots.move(in: context.admission.slots),
            allowance: allowance,
            pendingBytes: backPressure.move(),
            publications: publications,
            openedAt: openedAt,
            channels: Array(channels.names),
            conversation: conversation.moved(),
            registration: registration?.move(),
            wasAbsent: wasAbsent,
            hasEventUnderWay: hasEventUnderWay,
            origin: NIOLoopBound(self, eventLoop: context.eventLoop)
        )
        conversation.leave()
        machine = SessionStateMachine()
        isOpen = false
        context.registry.remove(self)
        return moved
    }

    private func endBehind() { endReplaced(reason: "another connection cannot resume the session") }

    /// It goes on nowhere: its client has another one.
    func endReplaced(reason: String = "the client has begun anew") {
        if let transport {
            self.transport = nil
            transport.close(code: .replaced, reason: reason)
        }
        if conversation?.absence != nil { return endAbsent() }
        end(code: .abnormal, reason: "", initiator: .network)
    }

    /// Becomes a session that has come from elsewhere, on this connection.
    func adopt(_ moved: MovedSession) {
        id = moved.id
        machine = moved.machine
        publications = moved.publications
        openedAt = moved.openedAt
        if let handshake {
            let dialect = context.configuration.dialect
            prepared = dialect.prepare(
                dialect.connection(
                    for: handshake.request,
                    id: id,
                    client: handshake.client,
                    transportKind: transportKind
                )
            )
        }
        handshake = nil
        slots.adopt(moved.slots)
        allowance = context.admission.allowances.allowance(moved.allowance, for: slots.address)
        context.admission.allowances.change(&allowance)
        backPressure.adopt(moved.pendingBytes)
        adopt(moved.identity, moved.token)
        if moved.origin == nil {
            enterFromElsewhere()
        } else {
            registration = moved.registration.map(SessionRegistration.init)
        }
        hasEventUnderWay = moved.hasEventUnderWay
        context.registry.insert(self)
        context.registrations?.changed(self)
        isOpen = true
        isCounted = true
        context.state.sessionOpened(transportKind)
        for channel in moved.channels { context.channels.join(self, channel) }
        if let origin = moved.origin {
            origin.eventLoop.execute { origin.value.context.channels.leaveAll(origin.value) }
        }
        conversation?.adopt(moved.conversation)
        identitySettled()
        accountBytes()
    }

    // MARK: The event under way

    /// The app has answered an event that was sent before the session moved.
    private func pass(on result: WebhookResult, of delivery: ConnectionEventDelivery) {
        guard let successor else { return }
        let ended = EndedDelivery(delivery.event, delivery.rejection)
        successor.eventLoop.execute { successor.value.relayed(ended, result) }
    }

    func relayed(_ ended: EndedDelivery, _ result: WebhookResult) {
        if let successor { return successor.eventLoop.execute { successor.value.relayed(ended, result) } }
        guard hasEventUnderWay else { return }
        hasEventUnderWay = false
        _ = eventEnded(ended, result)
    }
}
