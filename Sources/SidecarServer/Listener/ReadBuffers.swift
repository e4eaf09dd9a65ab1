import NIOCore

/// The size of the buffers that a client's bytes are read into: as large as recent reads.
///
/// NIO keeps the first buffer of a connection for as long as it lives and lets it grow, so every client that ever sent
/// a large message would keep a large buffer. Here that first buffer is small, and is reused while reads are small too;
/// a larger read gets a buffer of its own, which is freed with its bytes.
struct ReadBuffers: RecvByteBufferAllocator {
    private static let kept = 256
    private static let largest = 64 << 10

    private var size = Self.kept

    func buffer(allocator: ByteBufferAllocator) -> ByteBuffer { allocator.buffer(capacity: size) }

    /// - Returns: Nil when NIO should not reuse its buffer.
    func nextBufferSize() -> Int? { size == Self.kept ? size : nil }

    /// - Returns: Always true: otherwise NIO would reuse a buffer without calling ``nextBufferSize()``.
    mutating func record(actualReadBytes count: Int) -> Bool {
        if count >= size {
            size = min(max(size * 2, 2048), Self.largest)
        } else if count < size / 4 {
            size = max(size / 2, Self.kept)
        }
        return true
    }
}
