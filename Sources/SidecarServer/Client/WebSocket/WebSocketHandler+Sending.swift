import CoreMetrics
import Logging
import NIOCore
import SidecarCore
import WebSocketProtocol

/// Messages to the client: framed, compressed where that was agreed on, and held within its budget.
extension WebSocketHandler {
    func send(_ format: MessageFormat, _ payload: ByteBuffer) {
        guard phase == .open else {
            shard.metrics.messagesDropped(1, reason: "client_gone")
            return
        }
        hasSentSinceBeat = true
        if output.isWritable, sendQueue.isEmpty {
            write(format, payload)
            if !output.isWritable { accountUnsent(unsentBytes) }
        } else if hasRoom(for: payload.readableBytes + SendQueue.messageOverhead) {
            sendQueue.append(frame(format, payload, mayBeDropped: true).compacted)
            accountUnsent(unsentBytes)
        }
    }

    func send(_ message: PreparedMessage, at cursor: StreamCursor?, _ action: SlowClientAction?) -> Bool {
        guard phase == .open else { return false }
        hasSentSinceBeat = true
        if output.isWritable, sendQueue.isEmpty {
            write(frame(message))
            if !output.isWritable { accountUnsent(unsentBytes) }
            return true
        }
        let byteCount = message.payload.readableBytes + SendQueue.messageOverhead
        guard hasRoom(for: byteCount, action, of: message.channel) else { return false }
        var waiting = frame(message, mayBeDropped: true)
        waiting.channel = message.channel
        sendQueue.append(waiting)
        accountUnsent(unsentBytes)
        return true
    }

    func whenWritten(_ receipt: WriteReceipt) {
        receipt.begin()
        if !sendQueue.attach(receipt) { output.whenSent(receipt) }
    }

    func resume(_ missed: (_ room: Int) -> Replay) {}

    /// The frame that others get too, unless the messages of this connection lean on one another.
    private func frame(_ message: PreparedMessage, mayBeDropped: Bool = false) -> SendQueue.Message {
        guard compressor?.shouldCompress(byteCount: message.payload.readableBytes) == true else {
            return SendQueue.Message(header: message.plainFrame, payload: nil)
        }
        guard compressor?.isStateless == true, let window = compressor?.window else {
            return frame(message.format, message.payload, mayBeDropped: mayBeDropped)
        }
        let frame = message.frame(windowBits: window) { body in
            compressor?.compress(message.payload, into: &body) == true
        }
        return SendQueue.Message(header: frame, payload: nil)
    }

    /// A message with what carries it, compressed when that was agreed on and pays.
    ///
    /// - Parameter mayBeDropped: Later messages must not lean on it, as they do with context takeover.
    private func frame(
        _ format: MessageFormat,
        _ payload: ByteBuffer,
        mayBeDropped: Bool = false
    ) -> SendQueue.Message {
        let body = compressed(payload, mayBeDropped: mayBeDropped)
        let isCompressed = body != nil
        return frame(format, body ?? payload, isCompressed: isCompressed)
    }

    /// Exactly as large as needed: it may wait, and a shared buffer that is larger would wait with it.
    private func frame(_ format: MessageFormat, _ body: ByteBuffer, isCompressed: Bool) -> SendQueue.Message {
        let isWhole = body.readableBytes <= Self.copyThreshold
        let header = FrameEncoder.headerLength(payloadLength: body.readableBytes)
        var frame = ByteBufferAllocator().buffer(capacity: header + (isWhole ? body.readableBytes : 0))
        if isWhole {
            FrameEncoder.write(format.opcode, payload: body, compressed: isCompressed, into: &frame)
            return SendQueue.Message(header: frame, payload: nil)
        }
        FrameEncoder.writeHeader(
            format.opcode,
            payloadLength: body.readableBytes,
            compressed: isCompressed,
            into: &frame
        )
        return SendQueue.Message(header: frame, payload: body)
    }

    /// The payload compressed, in a buffer of the event loop; nil when it goes out as it is.
    private func compressed(_ payload: ByteBuffer, mayBeDropped: Bool = false) -> ByteBuffer? {
        guard compressor?.shouldCompress(byteCount: payload.readableBytes) == true,
            !mayBeDropped || compressor?.isStateless == true
        else { return nil }
        shard.compressed.clear()
        return compressor?.compress(payload, into: &shard.compressed) == true ? shard.compressed : nil
    }

    /// Writes a message at once.
    private func write(_ format: MessageFormat, _ payload: ByteBuffer) {
        if let compressed = compressed(payload) {
            write(format, compressed, isCompressed: true)
        } else {
            write(format, payload, isCompressed: false)
        }
    }

    private func write(_ format: MessageFormat, _ body: ByteBuffer, isCompressed: Bool) {
        guard body.readableBytes <= Self.copyThreshold else {
            return write(frame(format, body, isCompressed: isCompressed))
        }
        let byteCount = output.compose { buffer in
            FrameEncoder.write(format.opcode, payload: body, compressed: isCompressed, into: &buffer)
        }
        wrote(byteCount)
    }

    private func write(_ message: SendQueue.Message) {
        write(message.header, message.payload)
        for receipt in message.receipts { output.whenSent(receipt) }
    }

    /// Hands waiting messages to the channel, as many as it takes; all of them when nothing may stay behind.
    func sendWaiting(all: Bool = false) {
        while all || output.isWritable, let message = sendQueue.popFirst() { write(message) }
        output.flush()
    }

    func write(_ bytes: ByteBuffer, _ rest: ByteBuffer? = nil) {
        output.write(bytes, rest)
        wrote(bytes.readableBytes + (rest?.readableBytes ?? 0))
    }

    private func wrote(_ byteCount: Int) {
        heartbeat.sent(at: .now())
        shard.metrics.outgoing.wireBytes.increment(by: byteCount)
    }

    /// A client that does not read may not make us hold more than its budget.
    private func hasRoom(
        for byteCount: Int,
        _ action: SlowClientAction? = nil,
        of channel: ChannelName? = nil
    ) -> Bool {
        let settings = shard.configuration.settings
        let decision = sendQueue.makeRoom(
            for: byteCount,
            of: channel,
            beside: output.unsentBytes,
            limit: shard.sendBuffers.allowance(upTo: settings.maxSendBufferBytes, adding: byteCount),
            action ?? settings.slowClientAction
        )
        if decision.dropped > 0 || decision.answer != .fits {
            session.noteRefused(.sendBuffer, ["action": "\(decision.action.rawValue)"])
        }
        for _ in 0..<decision.dropped { dropped(decision.action.rawValue) }
        switch decision.answer {
        case .fits: return true
        case .drop:
            dropped(decision.action.rawValue)
            return false
        case .close:
            shard.metrics.messagesDropped(1, reason: "slow_client")
            closeAsTooSlow()
            accountUnsent(unsentBytes)
            return false
        }
    }

    private func closeAsTooSlow() {
        shard.metrics.slowClient(action: SlowClientAction.close.rawValue)
        isTooSlow = true
        shard.metrics.messagesDropped(sendQueue.removeAll(), reason: "slow_client")
        session.close(code: 1008, reason: "the client reads too slowly", for: .slowClient)
    }

    /// What has begun to go out cannot be dropped, so who holds more than its share of that is cut off.
    func giveUpUnsent(beyond share: Int) {
        session.noteRefused(.totalSendBuffer)
        if phase == .open {
            let action = shard.configuration.settings.slowClientAction
            for _ in 0..<sendQueue.shed(to: share, beside: output.unsentBytes, action) { dropped(action.rawValue) }
            if unsentBytes <= share { return accountUnsent(unsentBytes) }
            closeAsTooSlow()
        }
        context?.closeAtOnce()
        accountUnsent(0)
    }

    private func dropped(_ action: String) {
        shard.metrics.slowClient(action: action)
        shard.metrics.messagesDropped(1, reason: "slow_client")
    }

    var unsentBytes: Int { output.unsentBytes + sendQueue.byteCount }
}
