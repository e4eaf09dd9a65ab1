import CZlib
import NIOCore

/// A raw DEFLATE compressor that owns its zlib state (RFC 1951).
struct Deflater: ~Copyable {
    /// What compression costs and saves.
    struct Tuning: Equatable {
        /// The base-2 logarithm of the window, 9...15.
        var windowBits: Int
        /// 1 (slow, small) to 9.
        var memoryLevel: Int
        /// 1 (fast) to 9 (small).
        var level: Int

        /// For a compressor that many connections share: 169,792 bytes.
        ///
        /// Memory level 6 and not 8, since a reset clears the hash table: 16 instead of 64 KiB per message.
        static let shared = Tuning(windowBits: 15, memoryLevel: 6, level: 3)
        /// For a compressor that one connection keeps: 38,720 bytes.
        static let owned = Tuning(windowBits: 12, memoryLevel: 5, level: 3)

        /// The same with a window that is no larger than `bits`.
        func limited(to bits: Int) -> Tuning {
            var tuning = self
            tuning.windowBits = min(self.windowBits, bits)
            return tuning
        }

        /// The memory of a compressor, in bytes, as zlib 1.2.13 takes it on 64 bits.
        var memoryBytes: Int { 5952 + 1 << (self.windowBits + 2) + 1 << (self.memoryLevel + 9) }
    }

    /// The empty stored block that a flush ends with and that is not sent (RFC 7692 §7.2.1).
    static let tailLength = 4
    private static let tail: UInt32 = 0x0000_FFFF
    /// The most output that is asked for at once, in bytes.
    private static let largestStep = 64 * 1024

    // On the heap, since zlib's state remembers where its stream is.
    private let stream: UnsafeMutablePointer<z_stream>
    let tuning: Tuning

    /// - Returns: nil when there is no memory.
    init?(_ tuning: Tuning) {
        var tuning = tuning
        // zlib would silently use 9 for 8, and so break a promise to the peer.
        tuning.windowBits = min(max(tuning.windowBits, 9), 15)
        tuning.memoryLevel = min(max(tuning.memoryLevel, 1), 9)
        tuning.level = min(max(tuning.level, 1), 9)
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let status = deflateInit2_(
            stream,
            Int32(tuning.level),
            Z_DEFLATED,
            Int32(-tuning.windowBits),
            Int32(tuning.memoryLevel),
            Z_DEFAULT_STRATEGY,
            ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size)
        )
        guard status == Z_OK else {
            stream.deallocate()
            return nil
        }
        self.stream = stream
        self.tuning = tuning
    }

    deinit {
        deflateEnd(self.stream)
        self.stream.deallocate()
    }

    /// Forgets stream and window but keeps the memory.
    mutating func reset() {
        deflateReset(self.stream)
    }

    /// Writes `payload` compressed and without the tail of its flush to the end of `output`.
    ///
    /// - Returns: false when it would not be shorter than `payload` and `acceptsLonger` is false; then `output` is as it
    ///   was, and the window holds what the peer never saw, so a ``reset()`` is due.
    mutating func compress(_ payload: ByteBuffer, acceptsLonger: Bool = false, into output: inout ByteBuffer) -> Bool {
        let start = output.writerIndex
        let isWhole = payload.withUnsafeReadableBytes { bytes in
            // One byte short of the payload, and the tail that goes away again.
            self.flush(bytes, allowed: acceptsLonger ? .max : bytes.count - 1 + Self.tailLength, into: &output)
        }
        let end = output.writerIndex - Self.tailLength
        guard isWhole, output.getInteger(at: end, as: UInt32.self) == Self.tail else {
            output.moveWriterIndex(to: start)
            return false
        }
        output.moveWriterIndex(to: end)
        return true
    }

    /// Writes until the flush is whole, or gives up when it takes more than `allowed` bytes.
    private mutating func flush(
        _ input: UnsafeRawBufferPointer,
        allowed: Int,
        into output: inout ByteBuffer
    ) -> Bool {
        let stream = self.stream
        guard let availableIn = UInt32(exactly: input.count), availableIn > 0 else { return false }
        stream.pointee.next_in = UnsafeMutablePointer(
            mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self)
        )
        stream.pointee.avail_in = availableIn
        defer {
            stream.pointee.next_in = nil
            stream.pointee.next_out = nil
        }
        var total = 0
        while total < allowed {
            let room = min(allowed - total, input.count + 64, Self.largestStep)
            var status = Z_STREAM_ERROR
            let produced = output.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { writable in
                let part = UnsafeMutableRawBufferPointer(rebasing: writable.prefix(room))
                let availableOut = UInt32(clamping: part.count)
                stream.pointee.next_out = part.baseAddress?.assumingMemoryBound(to: UInt8.self)
                stream.pointee.avail_out = availableOut
                status = deflate(stream, Z_SYNC_FLUSH)
                return Int(availableOut) - Int(stream.pointee.avail_out)
            }
            total += produced
            guard status == Z_OK else { return false }
            // Room that is left over is zlib's sign that the flush is whole.
            if produced < room { return true }
        }
        return false
    }
}
