import NIOCore
import SidecarCore
import Synchronization
import WebSocketProtocol

/// One message for many clients: its frame is made once, and compressed once for all who agreed on the same.
final class PreparedMessage: Sendable {
    let format: MessageFormat
    let payload: ByteBuffer
    /// The channel that it was published to; nil for one that goes to a user or a connection.
    let channel: ChannelName?
    /// The whole frame, not compressed.
    let plainFrame: ByteBuffer
    /// The event type on event streams; nil for the usual one.
    private let event: String?
    /// The event as text for streams, once somebody has asked for it.
    private let streamText = Mutex<ByteBuffer?>(nil)
    /// Whole frames by the window that they need; nil where compression does not pay.
    private let compressedFrames = Mutex<[Int: ByteBuffer?]>([:])

    init(_ format: MessageFormat, _ payload: ByteBuffer, channel: ChannelName? = nil, event: String? = nil) {
        self.event = event
        self.format = format
        self.payload = payload
        self.channel = channel
        var frame = ByteBuffer()
        let header = FrameEncoder.headerLength(payloadLength: payload.readableBytes)
        frame.reserveCapacity(header + payload.readableBytes)
        FrameEncoder.write(format.opcode, payload: payload, into: &frame)
        plainFrame = frame
    }

    /// The frame for those who agreed on this window and no context takeover.
    ///
    /// - Parameter compress: Writes the compressed payload; false when that is not shorter.
    func frame(windowBits: Int, _ compress: (inout ByteBuffer) -> Bool) -> ByteBuffer {
        let frame = compressedFrames.withLock { frames in
            if let known = frames[windowBits] { return known }
            var body = ByteBuffer()
            var made: ByteBuffer?
            if compress(&body) {
                var frame = ByteBuffer()
                frame.reserveCapacity(
                    FrameEncoder.headerLength(payloadLength: body.readableBytes) + body.readableBytes
                )
                FrameEncoder.write(format.opcode, payload: body, compressed: true, into: &frame)
                made = frame
            }
            frames[windowBits] = .some(made)
            return made
        }
        return frame ?? plainFrame
    }

    /// The event for streams, without its `id`, which each stream has for itself.
    var eventText: ByteBuffer {
        streamText.withLock { known in
            if let known { return known }
            var text = ByteBuffer()
            EventStreamText.write(format, payload, event: event, into: &text)
            known = text
            return text
        }
    }
}
