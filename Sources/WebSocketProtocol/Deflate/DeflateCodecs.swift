import NIOCore

/// The compressors and decompressors that all connections of one event loop share.
///
/// A connection without context takeover borrows from here for the time of one message, so that while idle it owns no
/// memory of zlib. Use it from one event loop only.
///
/// For good it holds 20 KiB, per window size in use one compressor of 169,792 bytes (the largest), and up to
/// ``maxIdleInflaters`` decompressors of 39,928 bytes.
public final class DeflateCodecs {
    /// The decompressors that are kept for the next message; more may be lent out at one time.
    public static let maxIdleInflaters = 4

    /// Where the payload of one slice is unmasked, with room for the tail.
    let wireScratch: UnsafeMutableRawBufferPointer
    /// Where a slice is inflated to.
    let plainScratch: UnsafeMutableRawBufferPointer

    // Arrays can't hold what can't be copied.
    private let idle: UnsafeMutablePointer<Inflater>
    private var idleCount = 0
    private let deflaters: UnsafeMutablePointer<Deflater?>
    private static let windowSizes = 9...15

    /// Starts without any memory of zlib.
    public init() {
        self.wireScratch = .allocate(byteCount: PayloadInflater.sliceBytes + PayloadInflater.tailLength, alignment: 16)
        self.plainScratch = .allocate(byteCount: PayloadInflater.blockBytes, alignment: 16)
        self.wireScratch.initializeMemory(as: UInt8.self, repeating: 0)
        self.plainScratch.initializeMemory(as: UInt8.self, repeating: 0)
        self.idle = .allocate(capacity: Self.maxIdleInflaters)
        self.deflaters = .allocate(capacity: Self.windowSizes.count)
        for index in 0..<Self.windowSizes.count {
            (self.deflaters + index).initialize(to: nil)
        }
    }

    deinit {
        self.wireScratch.deallocate()
        self.plainScratch.deallocate()
        self.idle.deinitialize(count: self.idleCount)
        self.idle.deallocate()
        self.deflaters.deinitialize(count: Self.windowSizes.count)
        self.deflaters.deallocate()
    }

    /// The memory of zlib that is held for the next messages, in bytes; what is lent out is not in it. For tests.
    var idleBytes: Int {
        var bytes = 0
        for index in 0..<self.idleCount {
            bytes += self.idle[index].memoryBytes
        }
        for index in 0..<Self.windowSizes.count where self.deflaters[index] != nil {
            bytes += Deflater.Tuning.shared.limited(to: Self.windowSizes.lowerBound + index).memoryBytes
        }
        return bytes
    }

    /// A decompressor for one message, as good as new; nil when there is no memory.
    func borrowInflater() -> Inflater? {
        guard self.idleCount > 0 else { return Inflater(windowBits: 15) }
        self.idleCount -= 1
        return (self.idle + self.idleCount).move()
    }

    /// Takes back what was lent, whatever state it is in.
    func giveBack(_ inflater: consuming Inflater) {
        guard self.idleCount < Self.maxIdleInflaters else { return }
        inflater.reset()
        (self.idle + self.idleCount).initialize(to: inflater)
        self.idleCount += 1
    }

    /// Compresses one message that neither leans on earlier ones nor helps later ones.
    ///
    /// - Returns: false when it would not get shorter and `acceptsLonger` is false; then `output` is as it was.
    func compress(
        _ payload: ByteBuffer,
        windowBits: Int,
        acceptsLonger: Bool,
        into output: inout ByteBuffer
    ) -> Bool {
        let bits = min(max(windowBits, Self.windowSizes.lowerBound), Self.windowSizes.upperBound)
        let slot = self.deflaters + (bits - Self.windowSizes.lowerBound)
        guard var deflater = slot.pointee.take() ?? Deflater(.shared.limited(to: bits)) else { return false }
        let isWritten = deflater.compress(payload, acceptsLonger: acceptsLonger, into: &output)
        deflater.reset()
        slot.pointee = consume deflater
        return isWritten
    }
}
