import HTTP1
import NIOCore
import SidecarCore

/// The client's side of a session, whatever carries it.
protocol SessionTransport: AnyObject {
    /// The app has answered the `open` event.
    func handshakeDecided(_ decision: HandshakeDecision)
    /// Sends one message.
    func send(_ format: MessageFormat, _ payload: ByteBuffer)
    /// Sends a message that others get too; false when there was no room for it.
    ///
    /// - Parameter cursor: Its place, for event streams.
    func send(_ message: PreparedMessage, at cursor: StreamCursor?, _ action: SlowClientAction?) -> Bool
    /// Says what an event stream has missed since its client was here before.
    ///
    /// - Parameter missed: Tells that, as far as it fits into so many bytes.
    func resume(_ missed: (_ room: Int) -> Replay)
    /// Settles the receipt when the kernel has taken the message sent last, or never will.
    func whenWritten(_ receipt: WriteReceipt)
    /// Whether the client has sent something that has not been taken.
    var hasInputWaiting: Bool { get }
    /// Says goodbye with this code; the session has ended already.
    func close(code: UInt16, reason: String)
    /// The session takes messages again.
    func resumeReading()
    /// Other settings hold: deadlines may lie elsewhere, and `isOfTransport` what the kernel was told of the connection.
    func settingsChanged(isOfTransport: Bool)
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
