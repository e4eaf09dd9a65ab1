import HTTP1
import NIOCore

/// The body of a request that is streamed to the app.
extension AppConnection {
    /// Writes bytes of the body, which must not be empty, in the framing that the request's head announces.
    func writeBody(_ bytes: ByteBuffer, _ framing: HTTPBodyFraming) {
        if framing == .chunked {
            HTTPChunkWriter.write(bytes, write)
        } else {
            write(bytes)
        }
    }

    /// Ends the body, and the request.
    func endBody(_ trailers: HTTPHeaders?, _ framing: HTTPBodyFraming) {
        if framing == .chunked {
            var last = ByteBuffer()
            HTTPChunkWriter.writeLast(trailers: trailers, into: &last)
            write(last)
        }
        requestIsWhole()
    }
}
