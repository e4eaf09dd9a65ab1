public import NIOCore

/// Writes a body in chunks (RFC 9112 §7.1).
public enum HTTPChunkWriter {
    /// More than this stands between its delimiters instead of being copied there, in bytes.
    private static let copyThreshold = 4096
    private static let chunkEnd = ByteBuffer(string: "\r\n")

    /// Calls `write` with a chunk of these bytes, which must not be none, and with what belongs directly behind it.
    public static func write(_ bytes: ByteBuffer, _ write: (_ bytes: ByteBuffer, _ rest: ByteBuffer?) -> Void) {
        let isCopied = bytes.readableBytes <= copyThreshold
        var chunk = ByteBufferAllocator().buffer(capacity: 20 + (isCopied ? bytes.readableBytes : 0))
        chunk.writeString(String(bytes.readableBytes, radix: 16))
        chunk.writeStaticString("\r\n")
        if isCopied {
            chunk.writeImmutableBuffer(bytes)
            chunk.writeStaticString("\r\n")
            write(chunk, nil)
        } else {
            write(chunk, nil)
            write(bytes, chunkEnd)
        }
    }

    /// Writes the last chunk, with the trailers that the reader let through.
    public static func writeLast(trailers: HTTPHeaders?, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("0\r\n")
        trailers?.forEach { name, value in
            buffer.writeBytes(name)
            buffer.writeStaticString(": ")
            buffer.writeBytes(value)
            buffer.writeStaticString("\r\n")
        }
        buffer.writeStaticString("\r\n")
    }
}
