import NIOCore
import SidecarCore
import WebSocketProtocol

/// Messages as the app sent them, each in one frame (RFC 6455 §5.6), compressed where that was negotiated and pays.
struct RawFrames: ~Copyable {
    /// A frame that has not been written yet.
    struct Frame {
        fileprivate let format: MessageFormat
        fileprivate let body: ByteBuffer
        fileprivate let isCompressed: Bool

        /// Larger payloads are written separately from their header instead of copied behind it, in bytes.
        private static let copyThreshold = 4096

        var isSmall: Bool { body.readableBytes <= Self.copyThreshold }

        func write(into buffer: inout ByteBuffer) {
            FrameEncoder.write(format.opcode, payload: body, compressed: isCompressed, into: &buffer)
        }

        /// The frame in memory of its own, exactly as large as needed: a larger shared buffer would be retained while
        /// it waits.
        fileprivate var bytes: ByteBuffer {
            let header = FrameEncoder.headerLength(payloadLength: body.readableBytes)
            var bytes = ByteBufferAllocator().buffer(capacity: header + body.readableBytes)
            write(into: &bytes)
            return bytes
        }

        /// The frame for the send queue, with a large payload separate from its header.
        var message: SendQueue.Message {
            if isSmall { return SendQueue.Message(header: bytes, payload: nil) }
            let length = FrameEncoder.headerLength(payloadLength: body.readableBytes)
            var header = ByteBufferAllocator().buffer(capacity: length)
            FrameEncoder.writeHeader(
                format.opcode,
                payloadLength: body.readableBytes,
                compressed: isCompressed,
                into: &header
            )
            return SendQueue.Message(header: header, payload: body)
        }
    }

    private var compressor: MessageCompressor?

    init(_ compressor: consuming MessageCompressor?) {
        self.compressor = compressor
    }

    /// The uncompressed frame of a message.
    static func plain(_ format: MessageFormat, _ payload: ByteBuffer) -> Frame {
        Frame(format: format, body: payload, isCompressed: false)
    }

    /// A whole frame, uncompressed.
    static func encode(_ format: MessageFormat, _ payload: ByteBuffer) -> ByteBuffer {
        plain(format, payload).bytes
    }

    /// The frame of a message for this connection only.
    ///
    /// - Parameters:
    ///   - mayBeDropped: Later messages must not refer to it, as they do with context takeover.
    ///   - scratch: Where it is compressed, in a buffer of the event loop.
    mutating func frame(
        _ format: MessageFormat,
        _ payload: ByteBuffer,
        mayBeDropped: Bool,
        _ scratch: inout ByteBuffer
    ) -> Frame {
        let plain = Self.plain(format, payload)
        guard compressor?.shouldCompress(byteCount: payload.readableBytes) == true,
            !mayBeDropped || compressor?.isStateless == true
        else { return plain }
        scratch.clear()
        guard compressor?.compress(payload, into: &scratch) == true else { return plain }
        return Frame(format: format, body: scratch, isCompressed: true)
    }

    /// The frame shared with others, unless this connection uses context takeover.
    ///
    /// - Parameter delivery: The message's place in its channel.
    mutating func message(
        _ message: PreparedMessage,
        in delivery: ChannelDelivery?,
        by codec: MessageCodec,
        mayBeDropped: Bool,
        _ scratch: inout ByteBuffer
    ) -> SendQueue.Message {
        guard compressor?.shouldCompress(byteCount: message.payload.readableBytes) == true else {
            return SendQueue.Message(header: message.encoded(by: codec, in: delivery), payload: nil)
        }
        guard compressor?.isStateless == true, let window = compressor?.window else {
            let (format, bytes) = codec.body(of: message, in: delivery)
            return frame(format, bytes, mayBeDropped: mayBeDropped, &scratch).message
        }
        let shared = message.compressed(by: codec, windowBits: window) {
            let (format, bytes) = codec.body(of: message, in: delivery)
            var body = ByteBuffer()
            guard compressor?.compress(bytes, into: &body) == true else { return nil }
            return Frame(format: format, body: body, isCompressed: true).bytes
        }
        return SendQueue.Message(header: shared ?? message.encoded(by: codec, in: delivery), payload: nil)
    }
}
