import NIOCore
import SidecarCore
import Synchronization

/// A frame for many clients of the protocol: written once for each encoding.
final class SharedFrame: Sendable {
    private let frames = Mutex<[ProtocolEncoding: ByteBuffer]>([:])
    private let write: @Sendable (ProtocolEncoding) -> ByteBuffer

    init(_ write: @escaping @Sendable (ProtocolEncoding) -> ByteBuffer) {
        self.write = write
    }

    /// The frame in an encoding.
    func written(in encoding: ProtocolEncoding) -> ByteBuffer {
        frames.withLock { frames in
            if let frame = frames[encoding] { return frame }
            let frame = write(encoding)
            frames[encoding] = frame
            return frame
        }
    }
}
