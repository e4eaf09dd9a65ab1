import HTTP1
import NIOCore

/// Collects the parts of a reply of the app.
struct ReplyCollector {
    enum Progress {
        case incomplete
        case complete(HTTPReplyHead, ByteBuffer)
        /// The body exceeds the limit; what has arrived of it is dropped.
        case tooLarge
    }

    private var head: HTTPReplyHead?
    private var body: ByteBuffer?

    /// Takes the next part.
    ///
    /// - Parameter limit: The most bytes that the body may have.
    mutating func take(_ part: HTTPReplyPart, limit: Int) -> Progress {
        switch part {
        case .informational:
            return .incomplete
        case .head(let head):
            self.head = head
            return .incomplete
        case .body(let bytes):
            guard (body?.readableBytes ?? 0) + bytes.readableBytes <= limit else {
                self = ReplyCollector()
                return .tooLarge
            }
            if body == nil {
                body = bytes
            } else {
                body?.writeImmutableBuffer(bytes)
            }
            return .incomplete
        case .end:
            // Moved out, since it is not needed here any more.
            guard let head = head.take() else { return .incomplete }
            return .complete(head, body.take() ?? ByteBuffer())
        }
    }
}
