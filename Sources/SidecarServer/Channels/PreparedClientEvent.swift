import NIOCore
import SidecarCore
import Synchronization

/// A client's event for many others: encoded once for each encoding.
final class PreparedClientEvent: Sendable {
    let event: ClientBroadcast
    private let frames = Mutex<[ProtocolEncoding: ByteBuffer]>([:])

    init(_ event: ClientBroadcast) {
        self.event = event
    }

    /// Its frame in an encoding.
    func frame(in encoding: ProtocolEncoding) -> ByteBuffer {
        frames.withLock { frames in
            if let frame = frames[encoding] { return frame }
            let frame = encoding.clientEvent(event)
            frames[encoding] = frame
            return frame
        }
    }
}
