import NIOCore

/// The payload of one message as far as it is here, with its text checked as it comes.
struct MessageBody: Sendable {
    var kind: MessageKind?
    var bytes = ByteBuffer()
    private var text = UTF8Validator()

    /// The payload bytes so far.
    var count: Int { self.bytes.readableBytes }

    /// True when no character is cut short.
    var isWhole: Bool { self.kind != .text || self.text.isComplete }

    /// Copies further payload to the end.
    mutating func append(_ part: UnsafeRawBufferPointer) throws(ProtocolViolation) {
        guard !part.isEmpty else { return }
        if self.kind == .text && !self.text.consume(part) { throw .invalidText }
        // What often is the whole message gets as much memory as it needs; the buffer's own growth would double it.
        if self.bytes.readableBytes == 0 { self.reserve(part.count) }
        self.bytes.writeBytes(part)
    }

    /// Unmasks further payload to the end.
    mutating func append(
        _ count: Int,
        from buffer: inout ByteBuffer,
        mask: inout PayloadMask
    ) throws(ProtocolViolation) {
        var isText = true
        mask.move(count, from: &buffer, to: &self.bytes) { plain in
            if self.kind == .text { isText = self.text.consume(plain) }
        }
        guard isText else { throw .invalidText }
    }

    /// Sets memory aside; an empty message keeps the shared empty buffer and allocates nothing.
    mutating func reserve(_ count: Int) {
        if count > 0 { self.bytes = ByteBufferAllocator().buffer(capacity: count) }
    }
}
