import CoreMetrics
import NIOCore
import SidecarCore

/// The replay for a returning client.
extension EventStreamHandler {
    /// Sends the replay, and continues from there. Until the broker has answered, everything else waits.
    ///
    /// When it exceeds the send buffer, only the newest messages follow a reset: the client has had no time to read
    /// yet, and must not be closed for that again and again.
    func resume(
        _ replay: (_ room: Int, _ completion: @escaping (Result<Replay, ChannelFailure>) -> Void) -> Void
    ) {
        // Room for a reset and for the end of the replay, besides the messages.
        let ends = SendQueue.messageOverhead * 3
        let room = loop.configuration.settings.maxSendBufferBytes - output.unsentBytes - ends
        let pending = PendingReplay(room: room, buffers: loop.sendBuffers) { [weak self] in self?.resume(after: $0) }
        self.pending = pending
        replay(room) { pending.complete($0) }
    }

    private func resume(after answer: Result<Replay, ChannelFailure>) {
        guard let pending else { return }
        let events = takePending(replayedUpTo: (try? answer.get())?.upTo)
        switch answer {
        case .success(let replay):
            replayedUpTo = replay.upTo
            let later = events.reduce(0) { isReplayed($1) ? $0 : $0 + $1.byteCount }
            send(replay, room: pending.room - later, isComplete: !pending.hasLost(after: replay.upTo))
        case .failure:
            reset()
        }
        for event in events { resend(event) }
    }

    private func send(_ replay: Replay, room: Int, isComplete: Bool) {
        var room = room
        var texts: [(ByteBuffer, StreamMark, StoredMessage)] = []
        for replayed in replay.messages.reversed() {
            let message = replayed.message
            let text = EventStreamCodec.encode(message.format, message.payload, event: message.event)
            room -= text.readableBytes + SendQueue.messageOverhead
            if room < 0 { break }
            texts.append((text, replayed.mark, message))
        }
        if !isComplete || !replay.isComplete || texts.count < replay.messages.count { reset() }
        for (text, mark, message) in texts.reversed() {
            guard send(text, at: mark) else { return }
            session.noteSent(message.format, payloadBytes: message.payload.readableBytes)
        }
        // Gives the client the id of its new connection, even if it gets no event before it reconnects.
        sendPosition(after: replay)
    }

    // MARK: What has waited for it

    private func isReplayed(_ event: PendingReplay.Event) -> Bool {
        event.mark?.isCovered(by: replayedUpTo) == true
    }

    private func resend(_ event: PendingReplay.Event) {
        guard !isEnding else { return drop(event) }
        guard isReplayed(event) || send(event.text, at: event.mark, of: event.channel, event.action) else {
            return event.receipts.settleAsDropped()
        }
        settle(event)
    }

    /// The receipts of an event that was sent last, or is contained in the replay.
    private func settle(_ event: PendingReplay.Event) {
        for receipt in event.receipts {
            output.whenWritten(receipt)
            receipt.settle(wasWritten: true)
        }
    }

    /// Sends what no replay will bring when the client returns.
    func endPending() {
        for event in takePending() {
            guard event.mark == nil else {
                drop(event)
                continue
            }
            sendUnlimited(event.text)
            settle(event)
        }
    }

    /// Ends the wait for the replay, and counts what is lost.
    ///
    /// - Parameter position: Nil without a replay.
    /// - Returns: What was held back.
    func takePending(replayedUpTo position: StreamCursor? = nil) -> [PendingReplay.Event] {
        guard let pending = pending.take() else { return [] }
        loop.metrics.messagesDropped(pending.lostPublications(after: position), reason: .slowClient)
        return pending.end()
    }

    /// The client has gone.
    func drop(_ event: PendingReplay.Event) {
        event.receipts.settleAsDropped()
        loop.metrics.messagesDropped(1, reason: .clientGone)
    }

    // MARK: What is missing

    /// Tells the client that messages are missing, when it has got what came before them.
    func lostMessages() {
        if let pending { pending.lostMessages() } else { reset() }
    }

    private func reset() {
        if !isEnding { sendUnlimited(EventStreamText.reset) }
    }

    /// Sends an event that no action for slow clients may drop.
    private func sendUnlimited(_ text: ByteBuffer) {
        if output.isClear {
            EventStreamCodec.send(text, at: nil, over: output)
        } else {
            output.append(EventStreamCodec.message(text, at: nil))
        }
    }
}
