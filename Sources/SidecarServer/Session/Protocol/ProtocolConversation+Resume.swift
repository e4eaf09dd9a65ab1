import DequeModule
import NIOCore
import SidecarCore

/// Why there is no client, and for how long the session waits for it.
final class ClientAbsence: TimerOwner {
    /// What the app is told if the client does not return.
    let code: SessionCloseCode
    let reason: String
    let initiator: CloseInitiator
    let cause: CloseCause
    /// Whether the app is told (`SESSION_EVENTS`).
    let isTold: Bool
    private let timer = TimerEntry()
    /// The session, until its client returns or it ends. Not weak, which would allocate a side table for each.
    private var session: BridgeSession?
    /// The user whose session it is, as it was when the client went.
    var user: UserName?
    /// When the session ends.
    var deadline: NIODeadline

    init(
        code: SessionCloseCode,
        reason: String,
        initiator: CloseInitiator,
        cause: CloseCause,
        isTold: Bool,
        deadline: NIODeadline
    ) {
        self.isTold = isTold
        self.code = code
        self.reason = reason
        self.initiator = initiator
        self.cause = cause
        self.deadline = deadline
    }

    /// The session ends when the deadline has passed.
    func wait(_ session: BridgeSession) {
        self.session = session
        session.context.timers.arm(timer, owner: self, at: deadline)
    }

    func end(in timers: ShardTimers) {
        timers.cancel(timer)
        session = nil
    }

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        session?.endAbsent()
        return nil
    }
}

/// What moves with a session to the event loop of the connection that resumes it.
struct MovedConversation: Sendable {
    let requests: RequestLedger
    let stream: DirectStream
    let places: ChannelPlaces
    let keys: ResumeKeys
    let lastAttempt: NIODeadline
}

/// The way back to a session.
extension ProtocolConversation {
    /// Whether a client can come back to it.
    var canBeResumed: Bool { !keys.isEmpty && context.settings.resumeWindow != Settings.never }
    /// Whether the client has shown its newest token.
    func isNewest(_ hash: ResumeToken.Hash) -> Bool { keys.hashes.last == hash }

    /// A new token for the client; the one that it has shown stays valid until it sends something.
    func wayBack() -> Welcome.Resume? {
        let window = context.settings.resumeWindow
        // Over HTTP the token also says whose a request is.
        guard terms != nil, window != Settings.never || session.transport is any PostTransport else { return nil }
        let milliseconds = window == Settings.never ? 0 : window.nanoseconds / 1_000_000
        if start.keepsToken, let token = start.used, isNewest(token.hash) {
            return Welcome.Resume(token: token, window: milliseconds)
        }
        let (token, dropped) = keys.rotate(used: start.used?.hash, by: context.state.engine?.nodeID)
        forget(dropped)
        context.state.resumes[token.hash] = context.place(of: session.id)
        (session.transport as? PollTransport)?.note(token.hash)
        return Welcome.Resume(token: token, window: milliseconds)
    }

    /// The client has sent something, so it has the newest token.
    func confirm() {
        isConfirmed = true
        if keys.hashes.count > 1 { forget(keys.confirm()) }
    }

    private func forget(_ hashes: [ResumeToken.Hash]) {
        for hash in hashes { context.state.resumes[hash] = nil }
    }

    /// The session is over, or has moved.
    func end() {
        forget(keys.removeAll())
        endAbsence()
        dropHeld()
        dropKept()
    }

    // MARK: Absence

    /// The client has gone, and may return.
    func detach(_ absence: ClientAbsence) {
        phase = .detached
        start = Start()
        // A reply that is being applied, which may have shown that the client has gone, is remembered all the same.
        feeds = ChannelFeeds()
        replays = []
        missed = []
        staleMembers = []
        dropHeld()
        self.absence = absence
        absence.user = session.user
        if let user = session.user { context.state.absentUsers.add(user, context.place(of: session.id)) }
        absence.wait(session)
        account()
    }

    /// A client has shown the token of this session, and has a while to say what it has.
    func expectReturn() {
        guard let absence else { return }
        absence.deadline = max(absence.deadline, .now() + context.settings.handshakeTimeout + .seconds(1))
        absence.wait(session)
    }

    /// It no longer waits for its client.
    func endAbsence() {
        guard let absence else { return }
        absence.end(in: context.timers)
        if let user = absence.user { context.state.absentUsers.remove(user, session.id) }
        self.absence = nil
    }

    // MARK: Moving

    /// What goes with the session to another event loop.
    func moved() -> MovedConversation {
        MovedConversation(requests: requests, stream: stream, places: places, keys: keys, lastAttempt: lastAttempt)
    }

    /// Takes over what has come from another event loop.
    func adopt(_ moved: MovedConversation) {
        requests = moved.requests
        stream = moved.stream
        places = moved.places
        keys = moved.keys
        lastAttempt = moved.lastAttempt
        for hash in keys.hashes { context.state.resumes[hash] = context.place(of: session.id) }
        account()
    }

    /// The session has moved; its tokens are valid where it is now.
    func leave() {
        keys = ResumeKeys()
        end()
    }
}
