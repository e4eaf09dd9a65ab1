import NIOCore

/// Joins the data frames of one message, counts them, inflates them and checks text as it comes (RFC 6455 §5.4).
struct MessageAssembler: ~Copyable {
    /// The most that is reserved for a frame of which not every byte is here, so that a claim alone costs nothing.
    static let largestReservation = 16 * 1024

    private(set) var fragmentsReceived = 0
    private var body = MessageBody()
    private var isCompressed = false
    private var inflation: PayloadInflater?

    /// - Parameter inflation: nil for a connection without compression.
    init(inflation: consuming PayloadInflater?) {
        self.inflation = inflation
    }

    /// True when compression was negotiated.
    var canInflate: Bool { self.inflation != nil }

    /// True from the first frame of a message to its last.
    var isInsideMessage: Bool { self.body.kind != nil }

    /// The payload bytes of the open message so far.
    var bytesAssembled: Int { self.body.count }

    /// The memory set aside for the open message, in bytes.
    var bytesReserved: Int {
        switch self.inflation {
        case .some(let inflation): self.body.bytes.capacity + inflation.bytesReserved
        case .none: self.body.bytes.capacity
        }
    }

    /// The memory of zlib held now, in bytes.
    var codecBytes: Int {
        switch self.inflation {
        case .some(let inflation): inflation.codecBytes
        case .none: 0
        }
    }

    /// The payload bytes that further frames of the open message may have on the wire.
    func bytesLeft(of maxMessageBytes: Int) -> Int {
        guard self.isCompressed else { return maxMessageBytes - self.body.count }
        switch self.inflation {
        case .some(let inflation):
            return PayloadInflater.maxWireBytes(forMessageBytes: maxMessageBytes) - inflation.wireBytes
        case .none:
            return 0
        }
    }

    /// Starts a message whose first frame is `length` bytes long, `present` of them already here.
    mutating func begin(_ kind: MessageKind, isCompressed: Bool, length: Int, present: Int) {
        if self.isInsideMessage { self.body = MessageBody() }
        self.body.kind = kind
        self.isCompressed = isCompressed
        self.fragmentsReceived = 1
        // How much a compressed message takes is known when it is inflated.
        guard !isCompressed else { return }
        self.body.reserve(present >= length ? length : min(length, Self.largestReservation))
    }

    /// Counts a further frame of the open message.
    mutating func proceed() {
        self.fragmentsReceived += 1
    }

    /// Takes up to `count` payload bytes out of `buffer` and unmasks them on the way.
    ///
    /// - Parameter endsMessage: true when the message ends with these `count` bytes.
    mutating func append(
        _ count: Int,
        from buffer: inout ByteBuffer,
        mask: inout PayloadMask,
        endsMessage: Bool
    ) throws(ProtocolViolation) {
        guard self.isCompressed else { return try self.body.append(count, from: &buffer, mask: &mask) }
        try self.inflation?.append(count, from: &buffer, mask: &mask, endsMessage: endsMessage, into: &self.body)
    }

    /// Hands out the message after its last frame, or nil when none is open.
    mutating func finish() throws(ProtocolViolation) -> WebSocketEvent? {
        guard let kind = self.body.kind else { return nil }
        guard self.body.isWhole else { throw .invalidText }
        let whole = self.body.bytes
        self.clear()
        return .message(kind, whole)
    }

    /// Forgets the open message and frees its memory, for the connection gets no further.
    mutating func abandon() {
        self.clear()
        self.inflation?.abandon()
    }

    private mutating func clear() {
        self.fragmentsReceived = 0
        self.isCompressed = false
        self.body = MessageBody()
    }
}
