import HTTP1
import NIOCore
import SidecarCore

@testable import SidecarServer

/// A client's side of a session that records what it is told.
class FakeTransport: SessionTransport {
    /// Like a handler, it keeps its session.
    let session: BridgeSession

    /// What was sent and how it was closed, in order.
    fileprivate(set) var log: [String] = []
    /// How often the session said that it takes messages again.
    private(set) var resumed = 0
    /// The changes of settings, each with whether it was of the transport.
    private(set) var settingsChanges: [Bool] = []

    var isClear: Bool { hasRoom }
    /// Whether there is room for what is published.
    var hasRoom = true
    var hasInputWaiting = false
    /// Called before a message is recorded.
    var onSend: (() -> Void)?
    /// Called before a publication is recorded, for the same reason.
    var onPublish: (() -> Void)?
    /// Called when it is closed, as a write may show that the client has gone.
    var onClose: (() -> Void)?

    init(_ session: BridgeSession) {
        self.session = session
    }

    var replay: (any ReplayTransport)? { nil }

    func send(_ format: MessageFormat, _ payload: ByteBuffer) {
        onSend?()
        log.append("send \(String(buffer: payload))")
    }

    func send(_ message: PreparedMessage) -> Bool {
        onPublish?()
        guard hasRoom else { return false }
        log.append("publish \(String(buffer: message.payload))")
        return true
    }

    func send(_ delivery: ChannelDelivery) -> Bool { send(delivery.message) }

    func whenWritten(_ receipt: WriteReceipt) {
        receipt.begin()
        receipt.settle(wasWritten: true)
    }

    func close(code: SessionCloseCode, reason: String, farewell: [ByteBuffer]) {
        for bytes in farewell { log.append("farewell \(String(buffer: bytes))") }
        log.append("close \(code) \(reason)")
        onClose?()
    }

    func settingsChanged(isOfTransport: Bool) { settingsChanges.append(isOfTransport) }
    func resumeReading() { resumed += 1 }
}

/// The same on which a returning client gets a replay.
final class FakeReplayTransport: FakeTransport, ReplayTransport {
    override var replay: (any ReplayTransport)? { self }

    func resume(_ replay: (_ room: Int, _ completion: @escaping (Result<Replay, ChannelFailure>) -> Void) -> Void) {
        replay(1 << 20) { result in
            switch result {
            case .success(let replay):
                let texts = replay.messages.map { String(buffer: $0.message.payload) }
                self.log.append("replay \(texts.joined(separator: ", "))\(replay.isComplete ? "" : ", incomplete")")
            case .failure(let failure): self.log.append("replay failed: \(failure)")
            }
        }
    }

    func lostMessages() { log.append("lost messages") }
    func begins(in channel: ChannelName, at mark: StreamMark?) { log.append("begins in \(channel)") }
    func ends(in channel: ChannelName) {}
}

/// The client's side of a handshake that records what is decided.
final class FakeResponder: HandshakeResponder {
    private(set) var decisions: [String] = []
    /// What the session gets when it is accepted; nil: nothing yet.
    var transport: FakeTransport?
    /// Like an attempt to upgrade, it keeps its session.
    private let session: BridgeSession

    init(_ session: BridgeSession, _ transport: FakeTransport) {
        self.session = session
        self.transport = transport
    }

    func handshakeDecided(_ decision: HandshakeDecision) {
        switch decision {
        case .accept(let head):
            decisions.append("accept \(head.status)")
            if let transport { session.attach(transport) }
        case .relay(let head, let body): decisions.append("relay \(head.status) \(String(buffer: body))")
        case .fail(let failure): decisions.append("fail \(failure.outcome.rawValue)")
        case .refuse(let refusal, let result): decisions.append("refuse \(refusal.status) \(result.rawValue)")
        }
    }
}
