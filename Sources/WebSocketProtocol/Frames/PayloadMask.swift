public import NIOCore

/// The four-byte key that hides a client's payload, with the offset in the payload (RFC 6455 §5.3).
///
/// Masking and unmasking are the same operation. The value remembers how far it is, so a payload may come in pieces
/// of any length.
public struct PayloadMask: Sendable, Equatable {
    /// The key with the byte that is due next in the lowest bits.
    private var key: UInt32

    /// Takes the key's bytes in the order of the wire.
    public init(_ first: UInt8, _ second: UInt8, _ third: UInt8, _ fourth: UInt8) {
        self.key = UInt32(first) | UInt32(second) << 8 | UInt32(third) << 16 | UInt32(fourth) << 24
    }

    /// Copies `source` to the front of `destination` and (un)masks it on the way; returns the bytes copied.
    ///
    /// It copies as much as both have room for. The two may be the same memory, but must not overlap otherwise.
    @discardableResult
    public mutating func copy(_ source: UnsafeRawBufferPointer, to destination: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(source.count, destination.count)
        guard count > 0, let from = source.baseAddress, let into = destination.baseAddress else { return 0 }

        let pair = UInt64(self.key) | UInt64(self.key) << 32
        let word = pair.littleEndian
        let wide = SIMD4<UInt64>(repeating: word)
        var offset = 0
        // Widest first; each step is a multiple of four bytes, so the key stays in phase.
        while count &- offset >= 32 {
            let block = from.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self) ^ wide
            into.storeBytes(of: block, toByteOffset: offset, as: SIMD4<UInt64>.self)
            offset &+= 32
        }
        while count &- offset >= 8 {
            let block = from.loadUnaligned(fromByteOffset: offset, as: UInt64.self) ^ word
            into.storeBytes(of: block, toByteOffset: offset, as: UInt64.self)
            offset &+= 8
        }
        var rest = pair
        while offset < count {
            let byte = from.load(fromByteOffset: offset, as: UInt8.self) ^ UInt8(truncatingIfNeeded: rest)
            into.storeBytes(of: byte, toByteOffset: offset, as: UInt8.self)
            rest >>= 8
            offset &+= 1
        }
        self.advance(by: count)
        return count
    }

    /// Moves up to `count` bytes from `source` to the end of `destination` and (un)masks them on the way.
    ///
    /// - Parameter look: Shown what was moved.
    public mutating func move(
        _ count: Int,
        from source: inout ByteBuffer,
        to destination: inout ByteBuffer,
        _ look: (UnsafeRawBufferPointer) -> Void = { _ in }
    ) {
        let count = min(count, source.readableBytes)
        guard count > 0 else { return }
        var mask = self
        source.readWithUnsafeReadableBytes { readable in
            destination.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { writable in
                let copied = mask.copy(UnsafeRawBufferPointer(rebasing: readable[..<count]), to: writable)
                look(UnsafeRawBufferPointer(rebasing: writable[..<copied]))
                return copied
            }
        }
        self = mask
    }

    /// Turns the key so that the byte due after `count` more bytes is lowest.
    private mutating func advance(by count: Int) {
        let bits = UInt32(truncatingIfNeeded: count & 3) &* 8
        self.key = self.key >> bits | self.key << (32 &- bits)
    }
}
