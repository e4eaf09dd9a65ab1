import NIOCore

/// How large the buffers are that bytes of a client are read into: as large as what has come lately.
///
/// NIO keeps the first buffer of a connection for as long as it lives and lets it grow, so a large message would stay
/// with every client that ever sent one. That first buffer is small here and used again while reads are small too; a
/// larger read gets its own, which is gone when nobody needs its bytes any more.
struct ReadBuffers: RecvByteBufferAllocator {
    private static let kept = 256
    private static let largest = 64 << 10

    private var size = Self.kept

    func buffer(allocator: ByteBufferAllocator) -> ByteBuffer { allocator.buffer(capacity: size) }

    /// - Returns: Nil when NIO is not to use its buffer again.
    func nextBufferSize() -> Int? { size == Self.kept ? size : nil }

    /// - Returns: Always true: NIO then does not use a buffer again without ``nextBufferSize()``.
    mutating func record(actualReadBytes count: Int) -> Bool {
        if count >= size {
            size = min(max(size * 2, 2048), Self.largest)
        } else if count < size / 4 {
            size = max(size / 2, Self.kept)
        }
        return true
    }
}
