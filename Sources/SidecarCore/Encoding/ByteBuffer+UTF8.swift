import NIOCore

extension ByteBuffer {
    /// True when the readable bytes are well-formed UTF-8 (RFC 3629).
    var isValidUTF8: Bool {
        if readableBytes == 0 { return true }
        return withUnsafeReadableBytes { bytes in
            let typed = bytes.assumingMemoryBound(to: UInt8.self)
            return (try? UTF8Span(validating: typed.span)) != nil
        }
    }
}
