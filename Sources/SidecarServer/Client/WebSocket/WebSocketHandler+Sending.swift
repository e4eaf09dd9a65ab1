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
            let frame = codec.frame(format, payload, mayBeDropped: false, &loop.compressed)
            if frame.isSmall {
                output.send { frame.write(into: &$0) }
            } else {
                output.send(frame.message)
            }
        } else if output.makeRoom(for: payload.readableBytes) {
            let frame = codec.frame(format, payload, mayBeDropped: true, &loop.compressed)
            output.append(frame.message.compacted)
        }
    }

    func send(_ message: PreparedMessage, at cursor: StreamCursor?, _ action: SlowClientAction?) -> Bool {
        guard phase == .open else { return false }
        progress.hasSent = true
        if output.isClear {
            output.send(codec.message(message, mayBeDropped: false, &loop.compressed))
            return true
        }
        guard output.makeRoom(for: message.payload.readableBytes, of: message.channel, action) else { return false }
        var waiting = codec.message(message, mayBeDropped: true, &loop.compressed)
        waiting.channel = message.channel
        output.append(waiting)
        return true
    }

    func whenWritten(_ receipt: WriteReceipt) { output.whenWritten(receipt) }
}
