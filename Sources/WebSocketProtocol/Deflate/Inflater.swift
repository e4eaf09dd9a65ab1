import CZlib

/// A raw DEFLATE decompressor that owns its zlib state (RFC 1951).
///
/// It takes 7,160 bytes and, from the first output on, a window of 512 bytes to 32 KiB besides (zlib 1.2.13 on 64
/// bits); all of it is freed with the value.
struct Inflater: ~Copyable {
    /// Why a step ended.
    enum Outcome {
        /// All input is used.
        case needsInput
        /// The output is full, and there may be more to come.
        case outputFull
        /// A block with BFINAL ended; what follows needs a ``reset()`` first.
        case endOfStream
        /// The input is not DEFLATE.
        case corrupt
    }

    /// What one step used and made, in bytes.
    struct Step {
        let consumed: Int
        let produced: Int
        let outcome: Outcome
    }

    /// The memory of zlib's state without the window, in bytes.
    static let stateBytes = 7160

    // On the heap, since zlib's state remembers where its stream is.
    private let stream: UnsafeMutablePointer<z_stream>
    let windowBits: Int
    /// True when all input made whole blocks and the next bit would begin another one.
    private(set) var isBetweenBlocks = false

    /// - Parameter windowBits: the base-2 logarithm of the window, moved into 9...15.
    /// - Returns: nil when there is no memory.
    init?(windowBits: Int) {
        let windowBits = min(max(windowBits, 9), 15)
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let size = Int32(MemoryLayout<z_stream>.size)
        // A negative number asks for raw DEFLATE.
        guard inflateInit2_(stream, Int32(-windowBits), ZLIB_VERSION, size) == Z_OK else {
            stream.deallocate()
            return nil
        }
        self.stream = stream
        self.windowBits = windowBits
    }

    deinit {
        inflateEnd(self.stream)
        self.stream.deallocate()
    }

    /// The memory held, in bytes, once there was output.
    var memoryBytes: Int { Self.stateBytes + 1 << self.windowBits }

    /// Forgets stream and window but keeps the memory.
    mutating func reset() {
        inflateReset(self.stream)
        self.isBetweenBlocks = false
    }

    /// Takes as much of `input` as fits into `output` once inflated.
    mutating func inflate(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Step {
        let availableIn = UInt32(clamping: input.count)
        let availableOut = UInt32(clamping: output.count)
        let stream = self.stream
        // zlib's next_in is const in all but type.
        stream.pointee.next_in = UnsafeMutablePointer(
            mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self)
        )
        stream.pointee.avail_in = availableIn
        stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = availableOut
        let status = CZlib.inflate(stream, Z_SYNC_FLUSH)
        let consumed = Int(availableIn) - Int(stream.pointee.avail_in)
        let left = stream.pointee.avail_out
        stream.pointee.next_in = nil
        stream.pointee.next_out = nil
        let produced = Int(availableOut) - Int(left)
        // In zlib's `data_type` 128 says "right behind a block", 64 "in the last block", and the rest counts the bits
        // that wait. A call without progress may lose the 128.
        if consumed > 0 || produced > 0 { self.isBetweenBlocks = stream.pointee.data_type == 128 }
        let outcome: Outcome =
            switch status {
            case Z_OK, Z_BUF_ERROR: left == 0 ? .outputFull : .needsInput
            case Z_STREAM_END: .endOfStream
            default: .corrupt
            }
        return Step(consumed: consumed, produced: produced, outcome: outcome)
    }
}
