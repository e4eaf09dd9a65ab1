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

    func send(_ message: PreparedMessage, at mark: StreamMark?, _ action: SlowClientAction?) -> Bool {
        guard phase == .open else { return false }
        progress.hasSent = true
        if output.isClear {
            output.send(encoded(message, mayBeDropped: false))
            return true
        }
        guard output.makeRoom(for: message.payload.readableBytes, of: message.channel, action) else { return false }
        var waiting = encoded(message, mayBeDropped: true)
        waiting.channel = message.channel
        output.append(waiting)
        return true
    }

    private func frame(_ format: MessageFormat, _ payload: ByteBuffer, mayBeDropped: Bool) -> RawFrames.Frame {
        compresses
            ? codec.frame(format, payload, mayBeDropped: mayBeDropped, &loop.compressed)
            : RawFrames.plain(format, payload)
    }

    private func encoded(_ message: PreparedMessage, mayBeDropped: Bool) -> SendQueue.Message {
        compresses
            ? codec.message(message, mayBeDropped: mayBeDropped, &loop.compressed)
            : SendQueue.Message(header: message.encoded(by: .rawFrames), payload: nil)
    }

    func whenWritten(_ receipt: WriteReceipt) { output.whenWritten(receipt) }
}
