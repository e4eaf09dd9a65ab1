internal import NIOCore

/// How the readers keep and hand out bytes.
extension ByteBuffer {
    /// Adds all bytes of `other` and leaves it empty, without a copy when nothing is buffered here.
    mutating func takeAll(of other: inout ByteBuffer) {
        guard readableBytes > 0 else {
            swap(&self, &other)
            other = ByteBuffer()
            return
        }
        // What was handed out still holds these bytes: moving the few unread ones to a buffer of their own now keeps
        // the write below from copying the whole old one, time and again.
        if readerIndex > 0 { discardReadBytes() }
        writeBuffer(&other)
    }

    /// Takes at most `remaining` bytes as a slice and counts them off; nil when there are none.
    mutating func takeSlice(upTo remaining: inout Int) -> ByteBuffer? {
        let length = min(remaining, readableBytes)
        guard length > 0 else { return nil }
        remaining -= length
        guard length < readableBytes else {
            let whole = self
            self = ByteBuffer()
            return whole
        }
        return readSlice(length: length)
    }
}
