import HTTP1
import NIOCore

/// The body of a request that is streamed to the app.
extension AppConnection {
    /// Writes some bytes of it, which must not be none, as the request's head has announced them.
    func writeBody(_ bytes: ByteBuffer, _ framing: HTTPBodyFraming) {
        if framing == .chunked {
            HTTPChunkWriter.write(bytes, write)
        } else {
            write(bytes)
        }
    }

    /// Ends it, and the request.
    func endBody(_ trailers: HTTPHeaders?, _ framing: HTTPBodyFraming) {
        if framing == .chunked {
            var last = ByteBuffer()
            HTTPChunkWriter.writeLast(trailers: trailers, into: &last)
            write(last)
        }
        requestIsWhole()
    }
}
