import CoreMetrics
import DequeModule
import HTTP1
import NIOCore
import SidecarCore

/// What a session does beyond that of a raw client when its client speaks the protocol: it answers messages by their ids,
/// numbers what goes to the client, tells it of its channels, and keeps what a client that returns has not got.
final class ProtocolConversation {
    enum Phase {
        /// The app has yet to accept the client, or the client to say what it has.
        case waiting
        /// The broker is asked where the channels are.
        case greeting
        /// `$welcome` is out, and what the client has missed goes out.
        case replaying
        case live
        /// There is no client.
        case detached
    }

    /// How this connection began.
    struct Start {
        /// What a returning client has; nil for a new one.
        var request: ResumeRequest?
        /// Whether it goes on with its session.
        var isResumed = false
        /// The token that it has shown.
        var used: ResumeToken?
        /// Whether that stays its token.
        var keepsToken = false
    }

    /// What a client has missed of one channel.
    struct Replay {
        let channel: ChannelName
        let epoch: ChannelEpoch
        var messages: ArraySlice<StoredMessage>
    }

    let encoding: ProtocolEncoding
    // Not weak, which would allocate a side table for each session. The session holds the conversation.
    unowned let session: BridgeSession
    var phase = Phase.waiting
    var start = Start()

    // Messages.
    var requests = RequestLedger()
    var stream = DirectStream()
    /// The message whose reply is being applied.
    var answering: Answering?

    // Channels.
    var feeds = ChannelFeeds()
    var places = ChannelPlaces()
    var replays: Deque<Replay> = []
    /// The messages to the client alone that it has missed.
    var missed: ArraySlice<ByteBuffer> = []
    /// True while a replay is sent.
    var isGoingOn = false

    /// Where the client was too slow to be told who came and went.
    var staleMembers: Set<ChannelName> = []

    /// When the client may send the next event to others, as ``GCRA`` counts.
    var eventTime = GCRA.full

    // The way back.
    /// What has to be the same at a resume; nil where sessions cannot be resumed.
    let terms: ResumeTerms?
    var keys = ResumeKeys()
    /// Whether the client has sent something since it was greeted, and so has a token.
    var isConfirmed = false
    /// When the handshake of the last connection that resumed it was accepted.
    var lastAttempt = NIODeadline.distantPast
    var absence: ClientAbsence?
    private var accountedBytes = 0

    /// What waits until the client has got what comes before.
    private var held: [ByteBuffer] = []
    private var heldBytes = 0

    init(_ encoding: ProtocolEncoding, terms: ResumeTerms?, of session: BridgeSession) {
        self.encoding = encoding
        self.terms = terms
        self.session = session
    }

    var context: SessionContext { session.context }
    var isLive: Bool { phase == .live }
    /// Whether the client has been greeted on this connection.
    var isWelcomed: Bool { phase == .replaying || phase == .live }

    // MARK: Output

    func write(_ frame: ServerFrame) { write(encoding.write(frame)) }

    /// Sends a frame, after what comes before it.
    func write(_ frame: ByteBuffer) {
        switch phase {
        case .live: send(frame)
        case .detached: break
        case .waiting, .greeting, .replaying:
            held.append(frame)
            heldBytes += frame.readableBytes + SendQueue.messageOverhead
            if heldBytes > context.settings.maxSendBufferBytes {
                dropHeld()
                session.closeAsTooSlow()
            }
        }
    }

    /// Sends a frame now.
    func send(_ frame: ServerFrame) { send(encoding.write(frame)) }

    func send(_ frame: ByteBuffer) {
        context.metrics.outgoing.message(encoding.format, payloadBytes: frame.readableBytes)
        session.transport?.send(encoding.format, frame)
    }

    func sendHeld() {
        let frames = dropHeld()
        for frame in frames { send(frame) }
    }

    @discardableResult
    func dropHeld() -> [ByteBuffer] {
        defer { (held, heldBytes) = ([], 0) }
        return held
    }

    func tell(_ error: ProtocolError) {
        context.metrics.protocolErrors[error.code].increment()
        // A client that has yet to say what it has would otherwise wait for its own time-out.
        if session.resumeAttempt == nil { write(.error(error)) } else { send(.error(error)) }
    }
}

// MARK: - What it keeps

extension ProtocolConversation: SendBufferHolder {
    /// Small changes are not worth to be accounted for while there is a client.
    private static let accountingStep = 4096

    /// What is kept for a client that may return.
    var unsentBytes: Int { stream.keptBytes + requests.keptBytes }

    func accountUnsent(_ bytes: Int) {
        let old = accountedBytes
        accountedBytes = bytes
        context.sendBuffers.changed(self, from: old, to: bytes)
        context.state.sessionBufferBytes.adjust(by: bytes - old)
    }

    /// What is kept has changed.
    func account() {
        let bytes = unsentBytes
        guard bytes != accountedBytes else { return }
        if phase != .detached, bytes != 0, abs(bytes - accountedBytes) < Self.accountingStep { return }
        accountUnsent(bytes)
    }

    /// A client that is there loses nothing but its way back, until it has acknowledged what is dropped; one that is not
    /// loses its session.
    func shed(beyond share: Int) {
        session.noteLimited(by: .totalSendBuffer, nil)
        stream.forget()
        requests.dropContents()
        account()
        if phase == .detached { session.endAbsent() }
    }

    /// Forgets all that is kept.
    func dropKept() {
        stream.forget()
        requests = RequestLedger()
        if accountedBytes > 0 { accountUnsent(0) }
    }
}
