import CoreMetrics
import HTTP1
import Logging
import NIOCore
import SidecarCore
import TokenVerifier

/// What a connection that wants to resume a session waits for.
final class ResumeAttempt {
    enum Stage {
        /// The client says what it has.
        case awaitsFrame
        /// The session is on its way.
        case isMoving
    }

    /// The token that the client has shown; nil when it begins a new session, with positions of an earlier one.
    let token: ResumeToken?
    /// The node that has the session; nil for this one.
    let owner: NodeID?
    /// Whether the client keeps its token: it opens a stream again.
    let keepsToken: Bool
    /// When its handshake was accepted.
    let startedAt = NIODeadline.now()
    var stage = Stage.awaitsFrame
    let timer = CallbackTimer()
    /// True once the client has gone again.
    var isAbandoned = false

    init(_ token: ResumeToken?, at owner: NodeID?, keepsToken: Bool = false) {
        self.token = token
        self.keepsToken = keepsToken && owner == nil
        self.owner = owner
    }
}

/// Sessions that outlive their connection.
extension BridgeSession {
    // MARK: Without a client

    /// Whether the session outlives its connection, when that ends for this cause.
    private var outlivesConnection: Bool {
        guard let conversation, conversation.canBeResumed, conversation.phase != .detached else { return false }
        // During the drain another node may take it.
        return machine.isRunning && (!isDraining && !context.state.isDraining || context.state.moves != nil)
    }

    /// The client has gone without saying goodbye.
    ///
    /// - Parameters:
    ///   - tells: Whether the app is told, with `SESSION_EVENTS`.
    ///   - wasTold: Whether it has been told before.
    ///   - left: For how long it waits; nil for `RESUME_WINDOW`.
    /// - Returns: False when that is the end of the session.
    func detachIfPossible(
        code: SessionCloseCode,
        reason: String,
        initiator: CloseInitiator,
        _ cause: CloseCause?,
        tells: Bool = true,
        wasTold: Bool = false,
        left: TimeAmount? = nil
    ) -> Bool {
        guard outlivesConnection, let conversation else { return false }
        transport = nil
        responder = nil
        endPause()
        cancelIdentityTimers()
        slots.releaseAddress(in: context.admission.slots)
        clientLeft()
        context.state.detachedSessions.adjust(by: 1)
        conversation.detach(
            ClientAbsence(
                code: code,
                reason: reason,
                initiator: initiator,
                cause: cause ?? CloseCause(code: code, initiator: initiator),
                isTold: tells || wasTold,
                deadline: .now() + min(left ?? .nanoseconds(.max), context.settings.resumeWindow)
            )
        )
        context.absent.add(self)
        if context.settings.sessionEvents, tells { perform(machine.tell(.detached)) }
        return true
    }

    /// The client has not come back in time, or the session cannot be kept any longer.
    func endAbsent() {
        guard let absence = conversation?.absence else { return }
        end(code: absence.code, reason: absence.reason, initiator: absence.initiator, for: absence.cause)
    }

    /// Whether a handshake is that of this session's client.
    ///
    /// - Parameter user: The user of its token; nil without `AUTH`.
    func accepts(_ terms: ResumeTerms, user: UserName?) -> Bool {
        guard let conversation, conversation.canBeResumed, machine.isRunning, terms == conversation.terms,
            slots.isSettled
        else { return false }
        if context.authenticator != nil, user != identity.token?.user { return false }
        conversation.expectReturn()
        return true
    }

    /// Whether the end of a transport may be followed by another one: always but for a goodbye of the client, and a
    /// violation of the protocol.
    func mayReturn(_ code: SessionCloseCode, _ initiator: CloseInitiator) -> Bool {
        switch initiator {
        case .network: true
        case .client: code == .backLater
        case .server: false
        }
    }

    // MARK: The returning client

    /// The client will say what it has, once it is connected.
    ///
    /// - Parameters:
    ///   - token: What it has shown; nil when it begins a new session.
    ///   - owner: The node that has the session; nil for this one.
    ///   - identity: The token of its user.
    ///   - keepsToken: Whether the client keeps its token.
    func expectResume(
        with token: ResumeToken?,
        at owner: NodeID? = nil,
        _ identity: VerifiedToken? = nil,
        keepsToken: Bool = false
    ) {
        resumeAttempt = ResumeAttempt(token, at: owner, keepsToken: keepsToken)
        if let identity { hold(identity) }
    }

    /// It is connected.
    func awaitResume() {
        guard let attempt = resumeAttempt else { return }
        attempt.timer.arm(in: context.timers, at: .now() + context.settings.handshakeTimeout) { [weak self] _ in
            self?.abandonResume()
        }
    }

    /// The app has accepted a client that will say what it has got in an earlier session.
    func conversationAwaitsPositions() {
        if conversation == nil { resumeAttempt = nil } else { awaitResume() }
    }

    private func abandonResume() {
        guard let attempt = resumeAttempt, attempt.stage == .awaitsFrame else { return }
        endAttempt(.timeout)
        close(asUnresumable: .resumeTimeout, "no valid $resume came in time", returnAfter: nil)
    }

    private func endAttempt(_ result: ResumeResult) {
        resumeAttempt?.timer.cancel(in: context.timers)
        resumeAttempt = nil
        context.metrics.resumes[result].increment()
    }

    /// Closes a connection that has got no session; a new one that the app knows already ends.
    private func close(asUnresumable code: SessionCloseCode, _ reason: String, returnAfter delay: Int64?) {
        if machine.isRunning { return close(code: code, reason: reason, for: .resumeFailed) }
        let farewell = conversation.map { [$0.encoding.write(.bye(code, reconnectAfter: delay))] } ?? []
        transport?.close(code: code, reason: reason, farewell: delay == nil ? [] : farewell)
        leaveUnopened()
    }

    /// Forgets a connection that never had a session.
    private func leaveUnopened() {
        releaseSlots()
        handshake = nil
        machine.refused()
        transport = nil
        responder = nil
        conversation?.end()
    }

    /// `$resume` has come.
    func resume(_ request: ResumeRequest) {
        guard let attempt = resumeAttempt, attempt.stage == .awaitsFrame, let conversation else { return }
        attempt.timer.cancel(in: context.timers)
        guard let token = attempt.token else {
            resumeAttempt = nil
            return conversation.begin(.init(request: request))
        }
        attempt.stage = .isMoving
        guard let place = context.state.resumes[token.hash] else {
            return fetch(request, token, from: attempt.owner, until: .now() + context.settings.handshakeTimeout)
        }
        fetch(request, token, from: place)
    }

    /// Asks another event loop for the session.
    private func fetch(_ request: ResumeRequest, _ token: ResumeToken, from place: ResumeDirectory.Place) {
        guard let attemptedAt = resumeAttempt?.startedAt else { return }
        let receiver = NIOLoopBound(self, eventLoop: context.eventLoop)
        place.registry.eventLoop.execute {
            let session = place.registry.value[place.id]
            let moved = session?.surrender(to: receiver, seq: request.seq, attemptedAt: attemptedAt)
            receiver.eventLoop.execute { receiver.value.moved(moved, request, token) }
        }
    }

    /// How long a session is left alone whose last event the app has not answered.
    private static let busyPause = TimeAmount.milliseconds(250)

    /// Asks another node for the session.
    private func fetch(
        _ request: ResumeRequest,
        _ token: ResumeToken,
        from owner: NodeID?,
        until deadline: NIODeadline
    ) {
        guard let owner, let moves = context.state.moves else { return moved(nil, request, token) }
        guard let attemptedAt = resumeAttempt?.startedAt else { return }
        moves.take(token.hash, seq: request.seq, attemptedAt: attemptedAt, from: owner, on: context.eventLoop) {
            [self] taken in
            // It stays where it is when the client has gone again: by now it may be connected there.
            let isWanted = resumeAttempt.map { !$0.isAbandoned } ?? false
            switch taken {
            case .session(let record, let move):
                moves.arrived(move, from: owner, isTaken: isWanted)
                if isWanted { moved(MovedSession(record, in: context), request, token) }
            case .gone:
                // It may have come here meanwhile, from a node that stops.
                if isWanted, let place = context.state.resumes[token.hash] { return fetch(request, token, from: place) }
                if isWanted { moved(nil, request, token) }
            case .busy where isWanted && .now() < deadline:
                context.eventLoop.assumeIsolated().scheduleTask(in: Self.busyPause) {
                    self.fetch(request, token, from: owner, until: deadline)
                }
                return
            case .busy where isWanted:
                endAttempt(.busy)
                close(asUnresumable: .resumeTimeout, "the session is busy", returnAfter: 1_000)
            case .busy: break
            }
            if !isWanted, resumeAttempt != nil {
                endAttempt(.clientGone)
                leaveUnopened()
            }
        }
    }

    private func moved(_ moved: MovedSession?, _ request: ResumeRequest, _ token: ResumeToken) {
        guard let attempt = resumeAttempt else { return }
        guard let moved else {
            endAttempt(.gone)
            return close(asUnresumable: .resumeTimeout, "the session has ended", returnAfter: 0)
        }
        endAttempt(.resumed)
        adopt(moved)
        conversation?.lastAttempt = attempt.startedAt
        if context.settings.sessionEvents, moved.wasAbsent { perform(machine.tell(.resumed)) }
        if attempt.isAbandoned {
            // The client has gone again meanwhile.
            _ = detachIfPossible(code: .abnormal, reason: "", initiator: .network, .connectionLost)
        } else {
            conversation?.begin(
                .init(request: request, isResumed: true, used: token, keepsToken: attempt.keepsToken)
            )
        }
        closeIfBanned()
        if context.state.isDraining { drain() }
    }

    /// The connection that wanted to resume a session has ended.
    ///
    /// - Returns: False for one that has its session.
    func attemptEnded() -> Bool {
        guard let attempt = resumeAttempt, attempt.token != nil else { return false }
        transport = nil
        if attempt.stage == .isMoving {
            attempt.isAbandoned = true
        } else {
            endAttempt(.clientGone)
            leaveUnopened()
        }
        return true
    }
}
