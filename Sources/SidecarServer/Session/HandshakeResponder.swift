import HTTP1
import NIOCore
import SidecarCore

/// The client's side of a handshake.
protocol HandshakeResponder: AnyObject {
    /// The app has answered the `open` event, or will not be asked; told once.
    func handshakeDecided(_ decision: HandshakeDecision)
}

/// What the app's answer to `open` means for the handshake.
enum HandshakeDecision {
    /// Accepted with a 2xx.
    case accept(HTTPReplyHead)
    /// Any other final status, to be relayed.
    case relay(HTTPReplyHead, ByteBuffer)
    /// No answer that could be used.
    case fail(DeliveryFailure)
    /// Refused by us: the app was not asked, or has accepted for a user who has too many connections.
    case refuse(Refusal, HandshakeResult)
}
