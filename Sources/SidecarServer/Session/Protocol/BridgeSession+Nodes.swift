import NIOCore
import SidecarCore

/// Sessions on their way to another node, and from one.
extension BridgeSession {
    /// What becomes of a session that another node's client wants to resume.
    enum Surrender {
        /// It is the other node's, unless that does not take it.
        case moved(SessionRecord, MovedSession)
        /// The app has yet to answer an event.
        case busy
        /// There is no such session any more.
        case gone
    }

    /// Gives the session away, to a connection on another node.
    ///
    /// - Parameters:
    ///   - seq: The last message that the client has.
    ///   - attemptedAt: When that connection's handshake was accepted.
    func surrenderToNode(seq: UInt64, attemptedAt: NIODeadline) -> Surrender {
        // First, since that may end the session.
        passOnPosts()
        guard let conversation, canGoOn(from: seq, attemptedAt: attemptedAt) else { return .gone }
        // It is the same client, so the app is told nothing.
        let absence =
            conversation.absence?.facts(at: .now())
            ?? SessionRecord.Absence(
                code: .abnormal,
                reason: "",
                initiator: .network,
                cause: .connectionLost,
                left: context.settings.resumeWindow,
                isTold: false
            )
        if slots.isSettled, let record = record(with: absence) {
            let transport = transport
            if transport != nil {
                self.transport = nil
                clientLeft()
            }
            guard let moved = pack(wasAbsent: absence.isTold) else { return .gone }
            if let transport { closeAsReplaced(transport, conversation.encoding) }
            return .moved(record, moved)
        }
        if let transport, detachIfPossible(code: .abnormal, reason: "", initiator: .network, nil, tells: false) {
            closeAsReplaced(transport, conversation.encoding)
        }
        return .busy
    }

    /// Gives the session to another node, since this one stops. If none takes it, it ends.
    ///
    /// - Returns: False when it cannot be given away.
    func giveAway() -> Bool {
        guard let moves = context.state.moves, let conversation, conversation.canBeResumed, slots.isSettled,
            resumeAttempt == nil
        else { return false }
        let absence =
            conversation.absence?.facts(at: .now())
            ?? SessionRecord.Absence(
                code: .serviceRestart,
                reason: "the server is restarting",
                initiator: .server,
                cause: .drain,
                left: context.settings.resumeWindow,
                isTold: false
            )
        guard let record = record(with: absence) else { return false }
        let transport = transport
        // Until then another node has it.
        let delay = SessionCloseCode.serviceRestart.returnDelay(leavesSession: true).map { max($0, 500) }
        let farewell = conversation.farewell(.serviceRestart, returnAfter: delay)
        if transport != nil {
            self.transport = nil
            clientLeft()
        }
        guard let moved = pack(wasAbsent: absence.isTold) else { return false }
        transport?.close(code: .serviceRestart, reason: "the server is restarting", farewell: farewell)
        moves.give(record, moved, in: context) { [context] isGiven in
            if !isGiven { BridgeSession.restore(record, moved, in: context)?.endUntaken(absence) }
        }
        return true
    }

    /// No other node has taken it: the app is told of its end.
    private func endUntaken(_ absence: SessionRecord.Absence) {
        end(code: absence.code, reason: absence.reason, initiator: absence.initiator, for: absence.cause)
    }

    /// What another node needs to go on with it; nil while that is not possible.
    private func record(with absence: SessionRecord.Absence) -> SessionRecord? {
        guard let conversation, let terms = conversation.terms, let registration,
            let standing = machine.standing(at: .now())
        else { return nil }
        let facts = identity.token?.facts
        let debts = allowance.debts(now: MonotonicClock.now())
        let kept = conversation.moved()
        return SessionRecord(
            id: id,
            connection: registration.record,
            identity: identity.facts,
            token: facts.flatMap { facts in
                facts.user.map { SessionRecord.Token(user: $0, expiresAt: facts.expiresAt) }
            },
            standing: standing,
            messageDebt: debts.messages,
            byteDebt: debts.bytes,
            publications: publications,
            openedAt: openedAt,
            channels: Array(channels.names),
            places: kept.places,
            requests: kept.requests,
            stream: kept.stream,
            tokens: kept.keys.hashes,
            terms: terms.record,
            absence: absence,
            attemptAge: max(.now() - kept.lastAttempt, .zero)
        )
    }

    // MARK: Arrival

    /// A session that waits here for its client, after it was elsewhere; nil when its record cannot be used.
    ///
    /// - Parameter moved: What it has left on this node; nil for one that comes from another node.
    @discardableResult
    static func restore(_ record: SessionRecord, _ moved: MovedSession?, in context: SessionContext) -> BridgeSession? {
        guard let terms = try? ResumeTerms(record: record.terms),
            let connection = try? WebhookConnection(record: record.connection, id: record.id)
        else { return nil }
        let session = BridgeSession(arriving: record, connection, context: context)
        session.speak(terms.encoding, terms)
        session.adopt(moved ?? MovedSession(record, in: context))
        session.waitForClient(record.absence)
        session.closeIfBanned()
        return session
    }

    private func waitForClient(_ absence: SessionRecord.Absence) {
        let isWaiting = detachIfPossible(
            code: absence.code,
            reason: absence.reason,
            initiator: absence.initiator,
            absence.cause,
            tells: !absence.isTold,
            wasTold: absence.isTold,
            left: absence.left
        )
        if !isWaiting { endUntaken(absence) }
    }

    /// Counts and registers a session that has come from another node.
    func enterFromElsewhere() {
        if let user, let bucket = context.admission.slots.takeOver(user) {
            slots.take(bucket, of: user, in: context.admission.slots)
            allowance.share(withUser: context.admission.allowances.limitsUsers ? bucket : nil)
            slots.grant = context.state.engine.map { UserGrant(takingOver: user, users: $0.users) }
        }
        registration?.isWanted = true
        journal?.opened(registration?.record ?? [], identity: identity.facts)
        // After a crash its events go on from here.
        journal?.answered([machine.nextSequence - 1])
    }

    // MARK: Departure

    /// Closes a session whose user was banned while it was on its way.
    func closeIfBanned() {
        if context.admission.bans.covers(user: user) { closeAsBanned() }
    }

    /// Another node has it: nothing of it is left here.
    ///
    /// - Parameter returnsHere: Whether it comes back at once, and so stays registered and in the journal.
    func discard(_ moved: MovedSession, returnsHere: Bool) {
        context.channels.leaveAll(self)
        slots.adopt(moved.slots)
        backPressure.adopt(moved.pendingBytes)
        registration = moved.registration.map(SessionRegistration.init)
        releaseSlots()
        if returnsHere {
            registration?.isWanted = false
        } else {
            journal?.finished()
            context.registrations?.leave(self)
        }
        accountBytes()
    }
}

extension MovedSession {
    /// What has come from another node.
    init(_ record: SessionRecord, in context: SessionContext) {
        var allowance = MessageAllowance(perConnection: nil, bytes: nil, dryRun: [])
        allowance.owe(messages: record.messageDebt, bytes: record.byteDebt, now: MonotonicClock.now())
        self.init(
            id: record.id,
            machine: SessionStateMachine(
                record.standing,
                maxBatch: context.settings.webhookBatch ?? 1,
                at: .now()
            ),
            identity: record.identity,
            token: record.token.map {
                TokenIdentity.Facts(claims: record.identity.claims, user: $0.user, expiresAt: $0.expiresAt)
            },
            slots: .none,
            allowance: allowance,
            pendingBytes: BudgetShare(),
            publications: record.publications,
            openedAt: record.openedAt,
            channels: record.channels,
            conversation: MovedConversation(
                requests: record.requests,
                stream: record.stream,
                places: record.places,
                keys: ResumeKeys(record.tokens),
                lastAttempt: .now() - record.attemptAge
            ),
            registration: nil,
            wasAbsent: record.absence.isTold,
            hasEventUnderWay: false,
            origin: nil
        )
    }
}

extension ClientAbsence {
    /// For another node.
    func facts(at now: NIODeadline) -> SessionRecord.Absence {
        SessionRecord.Absence(
            code: code,
            reason: reason,
            initiator: initiator,
            cause: cause,
            left: max(deadline - now, .zero),
            isTold: isTold
        )
    }
}
