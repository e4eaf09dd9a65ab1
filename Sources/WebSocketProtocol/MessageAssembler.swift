import NIOCore

/// Joins the data frames of one message, counts them and checks text as it comes (RFC 6455 §5.4).
struct MessageAssembler: Sendable {
    /// The most that is reserved for a frame of which not every byte is here, so that a claim alone costs nothing.
    static let largestReservation = 16 * 1024

    private(set) var fragmentsReceived = 0
    private var kind: MessageKind?
    private var bytes = ByteBuffer()
    private var text = UTF8Validator()

    /// True from the first frame of a message to its last.
    var isInsideMessage: Bool { self.kind != nil }

    /// The payload bytes of the open message so far.
    var bytesAssembled: Int { self.bytes.readableBytes }

    /// The memory set aside for the open message, in bytes.
    var bytesReserved: Int { self.bytes.capacity }

    /// Starts a message whose first frame is `length` bytes long, `present` of them already here.
    mutating func begin(_ kind: MessageKind, length: Int, present: Int) {
        self.kind = kind
        self.fragmentsReceived = 1
        self.text = UTF8Validator()
        let reservation = present >= length ? length : min(length, Self.largestReservation)
        // An empty message keeps the shared empty buffer and allocates nothing.
        if reservation > 0 {
            self.bytes = ByteBufferAllocator().buffer(capacity: reservation)
        }
    }

    /// Counts a further frame of the open message.
    mutating func proceed() {
        self.fragmentsReceived += 1
    }

    /// Takes up to `count` payload bytes out of `buffer` and unmasks them on the way.
    mutating func append(
        _ count: Int,
        from buffer: inout ByteBuffer,
        mask: inout PayloadMask
    ) throws(ProtocolViolation) {
        let before = self.bytes.readableBytes
        mask.move(count, from: &buffer, to: &self.bytes)
        guard self.kind == .text else { return }
        let isText = self.bytes.withUnsafeReadableBytes { all in
            self.text.consume(UnsafeRawBufferPointer(rebasing: all[before...]))
        }
        guard isText else { throw .invalidText }
    }

    /// Hands out the message after its last frame, or nil when none is open.
    mutating func finish() throws(ProtocolViolation) -> WebSocketEvent? {
        guard let kind = self.kind else { return nil }
        if kind == .text && !self.text.isComplete { throw .invalidText }
        let whole = self.bytes
        self.reset()
        return .message(kind, whole)
    }

    /// Forgets the open message and frees its memory.
    mutating func reset() {
        self.kind = nil
        self.fragmentsReceived = 0
        self.bytes = ByteBuffer()
    }
}
