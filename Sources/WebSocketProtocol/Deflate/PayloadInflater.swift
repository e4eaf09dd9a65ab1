import NIOCore

/// Inflates the payload of one connection's compressed messages as it arrives (RFC 7692 §7.2.2).
///
/// Payload is inflated in slices of 4 KiB of the message, whatever the network or the frames cut it into. That makes
/// the verdict on a stream the same wherever it is cut, and a client that sends a few bytes and waits makes us hold
/// just those bytes.
struct PayloadInflater: ~Copyable {
    /// The compressed bytes that are inflated at once.
    static let sliceBytes = 4096
    /// The most output between two looks at the limits, in bytes.
    static let blockBytes = 16 * 1024
    /// The first bytes of a message that the ratio does not count: ordinary data may be as regular as a bomb, and what
    /// it can take up to here is bounded by the limit on the size.
    static let ratioFreeBytes = 256 * 1024
    /// What the sender cut off the end of the message: the rest of an empty stored block.
    static let tailLength = 4

    private let codecs: DeflateCodecs
    private let windowBits: Int
    private let keepsContext: Bool
    private let maxMessageBytes: Int
    private let maxRatio: Int?

    private var inflater: Inflater?
    /// Payload short of a slice, unmasked.
    private var held = ByteBuffer()
    /// True where a stream may begin: at the start of a message and right behind a block with BFINAL.
    private var isFresh = true
    /// The payload bytes of the open message that were taken so far.
    private(set) var wireBytes = 0

    /// - Parameters:
    ///   - limits: brought into their ranges.
    ///   - deflate: what the handshake agreed.
    ///   - codecs: those of the event loop.
    init(limits: MessageLimits, deflate: NegotiatedDeflate, codecs: DeflateCodecs) {
        self.codecs = codecs
        self.windowBits = deflate.clientWindowBits
        self.keepsContext = !deflate.clientNoContextTakeover
        self.maxMessageBytes = limits.maxMessageBytes
        self.maxRatio = limits.maxCompressionRatio
    }

    /// The most payload that a message may take on the wire: what fits when nothing can be compressed.
    ///
    /// Stored blocks add 5 bytes each; a 64th leaves room for blocks as short as 320 bytes.
    static func maxWireBytes(forMessageBytes count: Int) -> Int { count + count / 64 + 64 }

    /// The memory of zlib held now, in bytes.
    var codecBytes: Int { self.inflater == nil ? 0 : Inflater.stateBytes + 1 << self.windowBitsInUse }

    /// The memory set aside for payload that waits to be inflated, in bytes.
    var bytesReserved: Int { self.held.capacity }

    private var windowBitsInUse: Int { self.keepsContext ? max(self.windowBits, 9) : 15 }

    /// Takes up to `count` payload bytes out of `buffer`; what can be inflated goes into `message`.
    ///
    /// - Parameter endsMessage: true when the message ends with these `count` bytes.
    mutating func append(
        _ count: Int,
        from buffer: inout ByteBuffer,
        mask: inout PayloadMask,
        endsMessage: Bool,
        into message: inout MessageBody
    ) throws(ProtocolViolation) {
        var due = count
        while true {
            let waiting = self.held.readableBytes
            let taken = min(due, buffer.readableBytes, Self.sliceBytes - waiting)
            due -= taken
            self.wireBytes += taken
            let isLast = endsMessage && due == 0
            guard isLast || waiting + taken == Self.sliceBytes else {
                mask.move(taken, from: &buffer, to: &self.held)
                return
            }
            let length = self.gather(taken, from: &buffer, mask: &mask)
            try self.inflateSlice(length, isLast: isLast, into: &message)
            if isLast {
                self.endMessage()
                return
            }
        }
    }

    /// Forgets the open message and the context, for the connection gets no further.
    mutating func abandon() {
        self.held = ByteBuffer()
        self.wireBytes = 0
        self.isFresh = true
        guard let inflater = self.inflater.take() else { return }
        if !self.keepsContext { self.codecs.giveBack(inflater) }
    }

    /// Brings what is held and the next `taken` bytes to the front of the scratch memory; returns their number.
    private mutating func gather(_ taken: Int, from buffer: inout ByteBuffer, mask: inout PayloadMask) -> Int {
        let slice = self.codecs.wireScratch
        let waiting = self.held.readableBytes
        self.held.withUnsafeReadableBytes { slice.copyMemory(from: $0) }
        self.held.clear()
        // The bounds hold by `append`; the mask would copy no more than fits anyway.
        let rest = UnsafeMutableRawBufferPointer(rebasing: slice[waiting..<Self.sliceBytes])
        buffer.readWithUnsafeReadableBytes { readable in
            mask.copy(UnsafeRawBufferPointer(rebasing: readable.prefix(taken)), to: rest)
        }
        return waiting + taken
    }

    /// Inflates the first `length` bytes of the scratch memory, and the tail behind them if they end the message.
    private mutating func inflateSlice(
        _ length: Int,
        isLast: Bool,
        into message: inout MessageBody
    ) throws(ProtocolViolation) {
        // An empty message should be one byte of a block header, but some senders leave that out too. Behind a block
        // with BFINAL there is nothing that the tail would belong to.
        if isLast && length == 0 && self.isFresh { return }
        let slice = self.codecs.wireScratch
        var end = length
        if isLast {
            slice.storeBytes(of: UInt32(0x0000_FFFF).bigEndian, toByteOffset: end, as: UInt32.self)
            end += Self.tailLength
        }
        guard var inflater = self.inflater.take() ?? self.newInflater() else { throw .invalidCompressedData }
        do {
            try self.run(&inflater, UnsafeRawBufferPointer(slice)[..<end], isLast: isLast, into: &message)
        } catch {
            // Back into the property, from where `abandon` returns it.
            self.inflater = consume inflater
            throw error
        }
        self.inflater = consume inflater
    }

    /// Feeds `input` to the end, checking each block of output against the limits.
    private mutating func run(
        _ inflater: inout Inflater,
        _ input: Slice<UnsafeRawBufferPointer>,
        isLast: Bool,
        into message: inout MessageBody
    ) throws(ProtocolViolation) {
        var rest = input
        while true {
            // One byte more than there may be shows that there is too much.
            let room = min(Self.blockBytes, self.maxMessageBytes - message.count + 1)
            let block = UnsafeMutableRawBufferPointer(rebasing: self.codecs.plainScratch[..<room])
            let step = inflater.inflate(UnsafeRawBufferPointer(rebasing: rest), into: block)
            if step.consumed > 0 { self.isFresh = false }
            rest = rest.dropFirst(step.consumed)
            try self.checkLimits(message.count + step.produced)
            try message.append(UnsafeRawBufferPointer(rebasing: block[..<step.produced]))
            switch step.outcome {
            case .outputFull:
                continue
            case .needsInput:
                if isLast && !inflater.isBetweenBlocks { throw .invalidCompressedData }
                return
            case .endOfStream:
                // BFINAL ends a stream but no message (§7.2.3.5): what follows is a stream of its own.
                inflater.reset()
                self.isFresh = true
                if rest.isEmpty || isLast && rest.count == Self.tailLength { return }
            case .corrupt:
                throw .invalidCompressedData
            }
        }
    }

    private func checkLimits(_ total: Int) throws(ProtocolViolation) {
        if total > self.maxMessageBytes { throw .messageTooBig }
        if let maxRatio, total - Self.ratioFreeBytes > maxRatio * self.wireBytes { throw .compressionRatio }
    }

    private func newInflater() -> Inflater? {
        self.keepsContext ? Inflater(windowBits: self.windowBits) : self.codecs.borrowInflater()
    }

    private mutating func endMessage() {
        self.held = ByteBuffer()
        self.wireBytes = 0
        self.isFresh = true
        guard !self.keepsContext, let inflater = self.inflater.take() else { return }
        self.codecs.giveBack(inflater)
    }
}
