import CoreMetrics
import NIOCore
import SidecarCore

/// Carries a session in one long answer of events, each a frame (HTTP streaming, RFC 6202 §2.2); what the client sends
/// comes in POSTs on other connections.
final class ProtocolStreamHandler: StreamHandler, PostTransport {
    let posts: PostQueue

    /// - Parameter number: That of the POST that asked for it.
    init(session: BridgeSession, after number: UInt64, isEncrypted: Bool, loop: ClientContext) {
        posts = PostQueue(of: session, after: number, loop)
        super.init(session: session, codec: .protocolEvents, isEncrypted: isEncrypted, loop: loop)
        posts.attach(self)
    }

    override var transport: (any SessionTransport)? { self }

    override func sessionTold() { posts.end() }

    // MARK: POSTs

    func wasOpened(by post: ProtocolPost, _ key: OpeningKey?) -> Bool { false }

    func accept(_ post: ProtocolPost, _ pending: PendingPost) {
        loop.metrics.posts[.nothing].increment()
        posts.answered(post.number, .init(answer: .nothing, seq: nil, byteCount: 0))
        session.conversation?.confirm()
        if post.frames.isEmpty { _ = session.isAllowed(payloadBytes: 0, at: .now()) }
        posts.add(post.frames)
        pending.reply(.nothing)
    }

    func again(_ pending: PendingPost) { pending.reply(.nothing) }
    func left(_ pending: PendingPost) { posts.left(pending) }

    var hasInputWaiting: Bool { posts.hasFrames }
    func resumeReading() { posts.process() }

    // MARK: Output

    func send(_ format: MessageFormat, _ payload: ByteBuffer) {
        guard !isEnding else { return loop.metrics.messagesDropped(1, reason: .clientGone) }
        let event = EventStreamCodec.encode(frame: payload)
        if output.isClear {
            output.send(.init(header: event, payload: nil))
        } else if output.makeRoom(for: payload.readableBytes) {
            output.append(.init(header: event, payload: nil))
        }
        // What has come before $welcome is taken after it.
        if posts.hasFrames { loop.eventLoop.assumeIsolated().execute { self.posts.process() } }
    }

    func sendIfPossible(_ format: MessageFormat, _ payload: ByteBuffer, of channel: ChannelName) -> Bool {
        guard !isEnding else { return false }
        if !output.isClear {
            guard output.makeRoom(for: payload.readableBytes, of: channel, .dropNewest) else { return false }
        }
        send(EventStreamCodec.encode(frame: payload), in: nil)
        return true
    }

    func send(_ message: PreparedMessage) -> Bool {
        send(.text, message.encoded(by: .protocolPolls))
        return !isEnding
    }

    func send(_ delivery: ChannelDelivery) -> Bool {
        guard !isEnding else { return false }
        let message = delivery.message
        if !output.isClear {
            let byteCount = message.payload.readableBytes
            guard output.makeRoom(for: byteCount, of: delivery.channel, in: delivery, message.action) else {
                return false
            }
        }
        send(message.encoded(by: .protocolEvents, in: delivery), in: delivery)
        return true
    }

    private func send(_ event: ByteBuffer, in delivery: ChannelDelivery?) {
        var message = SendQueue.Message(header: event, payload: nil)
        if output.isClear { return output.send(message) }
        message.channel = delivery?.channel
        message.delivery = delivery
        output.append(message)
    }

    var isClear: Bool { output.isClear }
    func whenWritten(_ receipt: WriteReceipt) { output.whenWritten(receipt) }

    // MARK: The end

    func close(code: SessionCloseCode, reason: String, farewell: [ByteBuffer]) {
        end {
            output.finish()
            let last = farewell.isEmpty ? [ProtocolEncoding.json.write(.bye(code, reconnectAfter: nil))] : farewell
            for frame in last { output.sendAtOnce(EventStreamCodec.encode(frame: frame)) }
        }
    }
}
