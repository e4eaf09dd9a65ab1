import CoreMetrics
import NIOCore
import SidecarCore

/// The one handler of a client's event stream: events go out, nothing comes in.
///
/// What a message means is decided by the session, as with ``WebSocketHandler``.
final class EventStreamHandler: StreamHandler, ReplayTransport {
    /// What the client has got, as its ids say.
    private var position: StreamCursor
    /// The replay has already covered publications up to this position.
    var replayedUpTo = StreamCursor(.channels([]))
    /// The replay that the broker has not answered with yet.
    var pending: PendingReplay?

    init(session: BridgeSession, isEncrypted: Bool, loop: ClientContext) {
        position = StreamCursor(.channels([]), reader: StreamCursor.reader(session.id))
        super.init(session: session, codec: .eventStream, isEncrypted: isEncrypted, loop: loop)
    }

    override var transport: (any SessionTransport)? { self }

    override func connectionLost() {
        for event in takePending() { drop(event) }
    }

    // MARK: Output

    func send(_ format: MessageFormat, _ payload: ByteBuffer) {
        guard !isEnding else { return loop.metrics.messagesDropped(1, reason: .clientGone) }
        _ = send(EventStreamCodec.encode(format, payload), at: nil)
    }

    func send(_ delivery: ChannelDelivery) -> Bool {
        if let mark = delivery.mark, mark.isCovered(by: replayedUpTo) { return true }
        let message = delivery.message
        return send(
            message.encoded(by: .eventStream),
            at: delivery.mark,
            of: delivery.channel,
            message.action
        )
    }

    func send(_ message: PreparedMessage) -> Bool { send(message.encoded(by: .eventStream), at: nil) }

    /// - Parameter mark: The position of the event; nil when it has none.
    func send(
        _ text: ByteBuffer,
        at mark: StreamMark?,
        of channel: ChannelName? = nil,
        _ action: SlowClientAction? = nil
    ) -> Bool {
        guard !isEnding else { return false }
        if let pending {
            return pending.hold(PendingReplay.Event(text: text, mark: mark, channel: channel, action: action))
        }
        if output.isClear {
            EventStreamCodec.send(text, at: advance(by: mark), over: output)
            return true
        }
        guard output.makeRoom(for: text.readableBytes, of: channel, action) else { return false }
        var message = EventStreamCodec.message(text, at: advance(by: mark))
        message.channel = channel
        output.append(message)
        return true
    }

    /// The client gets an event at this position; returns the position of the stream after it.
    private func advance(by mark: StreamMark?) -> StreamCursor? {
        guard let mark else { return nil }
        position.advance(by: mark)
        return position
    }

    /// Sends the position after a replay, without an event.
    func sendPosition(after replay: Replay) {
        position.advance(by: replay.upTo)
        guard !isEnding else { return }
        if output.isClear {
            EventStreamCodec.send(EventStreamText.end, at: position, over: output)
        } else if output.makeRoom(for: EventStreamText.end.readableBytes, of: nil, nil) {
            output.append(EventStreamCodec.message(EventStreamText.end, at: position))
        }
    }

    func begins(in channel: ChannelName, at mark: StreamMark?) {
        if let mark {
            // An event of the channel may have come first.
            guard position.mark(of: channel)?.offset == nil else { return }
            position.advance(by: mark)
        } else {
            position.advance(by: .channel(ChannelMark(unknownIn: channel)))
        }
    }

    func ends(in channel: ChannelName) { position.leave(channel) }

    var isClear: Bool { output.isClear }

    func whenWritten(_ receipt: WriteReceipt) {
        if let pending { pending.whenWritten(receipt) } else { output.whenWritten(receipt) }
    }

    // MARK: The end

    /// Ends the stream; a browser reconnects by itself, after a random time when many streams end at once.
    func close(code: SessionCloseCode, reason: String, farewell: [ByteBuffer]) {
        end {
            endPending()
            output.finish()
            if code == .serviceRestart || code == .tryAgainLater {
                output.sendAtOnce(EventStreamText.retry(milliseconds: .random(in: 1_000...10_000)))
            }
        }
    }
}
