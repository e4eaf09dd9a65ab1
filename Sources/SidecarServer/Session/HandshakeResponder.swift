import HTTP1
import NIOCore
import SidecarCore

/// The client's side of a handshake.
protocol HandshakeResponder: AnyObject {
    /// The app has replied to the `open` event, or will not be called; told once.
    func handshakeDecided(_ decision: HandshakeDecision)
}

/// The result of a handshake.
enum HandshakeDecision {
    /// Accepted with a 2xx.
    case accept(HTTPReplyHead)
    /// Any other final status; relayed to the client.
    case relay(HTTPReplyHead, ByteBuffer)
    /// There was no usable reply.
    case fail(DeliveryFailure)
    /// Refused by us: the app was not called, or has accepted for a user with too many connections.
    case refuse(Refusal, HandshakeResult)
}
