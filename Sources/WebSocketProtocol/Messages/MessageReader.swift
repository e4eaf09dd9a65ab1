public import NIOCore

/// Turns the bytes of a client into messages, pings, pongs and a close, strictly by RFC 6455.
///
/// It is a pure value: bytes in, events out. Payload is unmasked straight into its message as it arrives, and each
/// rule and limit bites at the first byte that makes its violation certain. The transcript of a stream is the same
/// wherever the network cuts it. It can't be copied, since it may own a decompressor, and with one it stays on the
/// event loop of its ``DeflateCodecs``.
public struct MessageReader: ~Copyable {
    /// A frame whose header is read and whose payload is on its way.
    private struct OpenFrame {
        let opcode: FrameOpcode
        let isFinal: Bool
        var bytesDue: Int
        var mask: PayloadMask
    }

    private let limits: MessageLimits
    private var frame: OpenFrame?
    private var assembler: MessageAssembler
    private var control = ByteBuffer()
    private var hasDataHeaderBegun = false
    private var isFinished = false

    /// A reader for a connection without compression.
    ///
    /// - Parameter limits: what one message may take; values out of range are moved into it, see ``MessageLimits``.
    public init(limits: MessageLimits) {
        self.limits = limits.clamped
        self.assembler = MessageAssembler(inflation: nil)
    }

    /// A reader for a connection whose handshake agreed on permessage-deflate (RFC 7692).
    ///
    /// With context takeover it owns a decompressor from its first compressed message on, see ``codecBytes``; without,
    /// it borrows one while a compressed message arrives.
    ///
    /// - Parameters:
    ///   - limits: what one message may take; values out of range are moved into it, see ``MessageLimits``.
    ///   - deflate: what the handshake agreed.
    ///   - codecs: those of the connection's event loop.
    public init(limits: MessageLimits, deflate: NegotiatedDeflate, codecs: DeflateCodecs) {
        self.limits = limits.clamped
        self.assembler = MessageAssembler(
            inflation: PayloadInflater(limits: limits.clamped, deflate: deflate, codecs: codecs)
        )
    }

    /// True from the first byte of a data message until it is whole: the span of the assembly timeout.
    public var isAssembling: Bool { self.assembler.isInsideMessage || self.hasDataHeaderBegun }

    /// The frames of the open message so far, 0 between messages; for tests.
    var fragmentsReceived: Int { self.assembler.fragmentsReceived }

    /// The payload bytes of the open message so far, inflated if it is compressed; for tests.
    var bytesAssembled: Int { self.assembler.bytesAssembled }

    /// The memory set aside for the open message, in bytes; never decided by a claimed length alone.
    public var bytesReserved: Int { self.assembler.bytesReserved }

    /// The memory of zlib that this reader holds now, in bytes.
    ///
    /// Without context takeover 0 between messages and up to 39,928 inside a compressed one; with it, once it is
    /// needed, 7,160 and the client's window of 512 to 32,768.
    public var codecBytes: Int { self.assembler.codecBytes }

    /// Consumes as many bytes as it can use and returns the next event, or nil when it needs more bytes.
    ///
    /// Call it until it returns nil; then `buffer` holds nothing but at most 13 bytes of a header that is cut short,
    /// and further bytes belong behind them. After an error or a close event everything is consumed and ignored
    /// (RFC 6455 §5.5.1 and §7.1.7).
    ///
    /// - Throws: the rule or limit that the peer broke.
    public mutating func next(from buffer: inout ByteBuffer) throws(ProtocolViolation) -> WebSocketEvent? {
        guard !self.isFinished else {
            buffer.moveReaderIndex(to: buffer.writerIndex)
            return nil
        }
        do {
            return try self.advance(&buffer)
        } catch {
            self.finish(discarding: &buffer)
            throw error
        }
    }

    /// How many messages these bytes complete, by their frames alone: for what nobody will read, so that nothing is
    /// inflated or kept.
    ///
    /// It ends at a Close, and at a frame that breaks a rule of framing.
    public func messagesCompleted(by bytes: ByteBuffer) -> Int {
        guard !self.isFinished else { return 0 }
        var rest = bytes
        var count = 0
        let compressedBytesLeft = self.assembler.canInflate ? Int.max : nil
        var isInsideMessage = self.assembler.isInsideMessage
        var open = self.frame.map { (opcode: $0.opcode, isFinal: $0.isFinal, bytesDue: $0.bytesDue) }
        while true {
            if open == nil {
                let context = FrameContext(
                    isInsideMessage: isInsideMessage,
                    bytesLeft: .max,
                    compressedBytesLeft: compressedBytesLeft,
                    fragmentsLeft: .max
                )
                let header = rest.withUnsafeReadableBytes { try? FrameHeader.parse($0, in: context) }
                guard let header else { return count }
                rest.moveReaderIndex(forwardBy: header.headerLength)
                open = (header.opcode, header.isFinal, header.payloadLength)
            }
            guard let frame = open.take(), rest.readableBytes >= frame.bytesDue, frame.opcode != .close else {
                return count
            }
            rest.moveReaderIndex(forwardBy: frame.bytesDue)
            if frame.opcode.isControl { continue }
            isInsideMessage = !frame.isFinal
            if frame.isFinal { count += 1 }
        }
    }

    private mutating func advance(_ buffer: inout ByteBuffer) throws(ProtocolViolation) -> WebSocketEvent? {
        while true {
            if self.frame == nil { self.frame = try self.openFrame(&buffer) }
            guard var frame = self.frame else { return nil }
            let before = buffer.readableBytes
            if frame.opcode.isControl {
                frame.mask.move(frame.bytesDue, from: &buffer, to: &self.control)
            } else {
                try self.assembler.append(
                    frame.bytesDue,
                    from: &buffer,
                    mask: &frame.mask,
                    endsMessage: frame.isFinal
                )
            }
            frame.bytesDue -= before - buffer.readableBytes
            guard frame.bytesDue == 0 else {
                self.frame = frame
                return nil
            }
            self.frame = nil
            if let event = try self.endFrame(frame, &buffer) { return event }
        }
    }

    /// Reads a header, or returns nil when it is not whole.
    private mutating func openFrame(_ buffer: inout ByteBuffer) throws(ProtocolViolation) -> OpenFrame? {
        let context = FrameContext(
            isInsideMessage: self.assembler.isInsideMessage,
            bytesLeft: self.assembler.bytesLeft(of: self.limits.maxMessageBytes),
            compressedBytesLeft: self.assembler.canInflate
                ? PayloadInflater.maxWireBytes(forMessageBytes: self.limits.maxMessageBytes) : nil,
            fragmentsLeft: self.limits.maxFragments - self.assembler.fragmentsReceived
        )
        let header = try buffer.withUnsafeReadableBytes { (bytes) throws(ProtocolViolation) -> FrameHeader? in
            try FrameHeader.parse(bytes, in: context)
        }
        guard let header else {
            self.hasDataHeaderBegun =
                buffer.getInteger(at: buffer.readerIndex, as: UInt8.self).map { $0 & 8 == 0 } ?? false
            return nil
        }
        self.hasDataHeaderBegun = false
        buffer.moveReaderIndex(forwardBy: header.headerLength)
        switch header.opcode {
        case .text, .binary:
            self.assembler.begin(
                header.opcode == .text ? .text : .binary,
                isCompressed: header.isCompressed,
                length: header.payloadLength,
                present: buffer.readableBytes
            )
        case .continuation:
            self.assembler.proceed()
        case .close, .ping, .pong:
            self.control =
                header.payloadLength == 0 ? ByteBuffer() : ByteBufferAllocator().buffer(capacity: header.payloadLength)
        }
        return OpenFrame(
            opcode: header.opcode,
            isFinal: header.isFinal,
            bytesDue: header.payloadLength,
            mask: header.mask
        )
    }

    /// The event that a frame completes; nil for a fragment that is not the last.
    private mutating func endFrame(
        _ frame: OpenFrame,
        _ buffer: inout ByteBuffer
    ) throws(ProtocolViolation) -> WebSocketEvent? {
        switch frame.opcode {
        case .continuation, .text, .binary:
            return frame.isFinal ? try self.assembler.finish() : nil
        case .ping:
            return .ping(self.takeControl())
        case .pong:
            return .pong(self.takeControl())
        case .close:
            let body = try CloseBody(self.takeControl())
            self.finish(discarding: &buffer)
            return .close(body.code, reason: body.reason)
        }
    }

    private mutating func takeControl() -> ByteBuffer {
        let payload = self.control
        self.control = ByteBuffer()
        return payload
    }

    private mutating func finish(discarding buffer: inout ByteBuffer) {
        self.isFinished = true
        self.hasDataHeaderBegun = false
        self.frame = nil
        self.control = ByteBuffer()
        self.assembler.abandon()
        buffer.moveReaderIndex(to: buffer.writerIndex)
    }
}
