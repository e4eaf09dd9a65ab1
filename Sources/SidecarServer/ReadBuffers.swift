import NIOCore

/// How large the buffers are that bytes of a client are read into: as large as what has come lately.
///
/// NIO keeps the first buffer of a connection for as long as it lives and lets it grow, so a large message would stay
/// with every client that ever sent one. That first buffer is small here, and each read gets its own, which is gone
/// when nobody needs its bytes any more.
struct ReadBuffers: RecvByteBufferAllocator {
    private static let first = 256
    private static let smallest = 512
    private static let largest = 64 << 10

    private var size = Self.first

    func buffer(allocator: ByteBufferAllocator) -> ByteBuffer { allocator.buffer(capacity: size) }

    /// - Returns: Always true: NIO then does not use a buffer again.
    mutating func record(actualReadBytes count: Int) -> Bool {
        if count >= size {
            size = min(max(size * 2, 2048), Self.largest)
        } else if count < size / 4 {
            size = max(size / 2, Self.smallest)
        } else {
            size = max(size, Self.smallest)
        }
        return true
    }
}
