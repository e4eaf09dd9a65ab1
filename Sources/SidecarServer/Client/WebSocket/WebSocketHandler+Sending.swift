import NIOCore
import SidecarCore

/// Messages to the client.
extension WebSocketHandler {
    func send(_ format: MessageFormat, _ payload: ByteBuffer) {
        guard phase == .open else {
            loop.metrics.messagesDropped(1, reason: .clientGone)
            return
        }
        progress.hasSent = true
        if output.isClear {
            let frame = frame(format, payload, mayBeDropped: false)
            if frame.isSmall {
                output.send { frame.write(into: &$0) }
            } else {
                output.send(frame.message)
            }
        } else if output.makeRoom(for: payload.readableBytes) {
            let frame = frame(format, payload, mayBeDropped: true)
            output.append(frame.message.compacted)
        }
    }

    func sendIfPossible(_ format: MessageFormat, _ payload: ByteBuffer, of channel: ChannelName) -> Bool {
        guard phase == .open else { return false }
        if output.isClear {
            send(format, payload)
        } else {
            guard output.makeRoom(for: payload.readableBytes, of: channel, .dropNewest) else { return false }
            output.append(frame(format, payload, mayBeDropped: true).message.compacted)
        }
        return true
    }

    func send(_ message: PreparedMessage) -> Bool { send(message, in: nil) }
    func send(_ delivery: ChannelDelivery) -> Bool { send(delivery.message, in: delivery) }

    private func send(_ message: PreparedMessage, in delivery: ChannelDelivery?) -> Bool {
        guard phase == .open else { return false }
        progress.hasSent = true
        if output.isClear {
            output.send(encoded(message, in: delivery, mayBeDropped: false))
            return true
        }
        let payloadBytes = message.payload.readableBytes
        let told = messageCodec == .rawFrames ? nil : delivery
        guard output.makeRoom(for: payloadBytes, of: delivery?.channel, in: told, delivery?.message.action) else {
            return false
        }
        var waiting = encoded(message, in: delivery, mayBeDropped: true)
        waiting.channel = delivery?.channel
        waiting.delivery = told
        output.append(waiting)
        return true
    }

    private func frame(_ format: MessageFormat, _ payload: ByteBuffer, mayBeDropped: Bool) -> RawFrames.Frame {
        compresses
            ? codec.frame(format, payload, mayBeDropped: mayBeDropped, &loop.compressed)
            : RawFrames.plain(format, payload)
    }

    private func encoded(
        _ message: PreparedMessage,
        in delivery: ChannelDelivery?,
        mayBeDropped: Bool
    ) -> SendQueue.Message {
        compresses
            ? codec.message(message, in: delivery, by: messageCodec, mayBeDropped: mayBeDropped, &loop.compressed)
            : SendQueue.Message(header: message.encoded(by: messageCodec, in: delivery), payload: nil)
    }

    var isClear: Bool { output.isClear }
    func whenWritten(_ receipt: WriteReceipt) { output.whenWritten(receipt) }
}
