import NIOCore
import SidecarCore

/// The client's side of an open session, whatever carries it.
protocol SessionTransport: AnyObject {
    /// Sends one message.
    func send(_ format: MessageFormat, _ payload: ByteBuffer)
    /// Sends a message that others get too; false when there was no room for it.
    ///
    /// - Parameter cursor: Its place, for event streams.
    func send(_ message: PreparedMessage, at cursor: StreamCursor?, _ action: SlowClientAction?) -> Bool
    /// Settles the receipt when the kernel has taken the message sent last, or never will.
    func whenWritten(_ receipt: WriteReceipt)
    /// Says goodbye with this code; the session has ended already.
    func close(code: SessionCloseCode, reason: String)
    /// Other settings hold: deadlines may lie elsewhere, and `isOfTransport` what the kernel was told of the connection.
    func settingsChanged(isOfTransport: Bool)

    /// Whether the client has sent something that has not been taken.
    var hasInputWaiting: Bool { get }
    /// The session takes messages again.
    func resumeReading()
}

/// On most carriers the client says nothing.
extension SessionTransport {
    var hasInputWaiting: Bool { false }
    func resumeReading() {}
}

/// A carrier whose client says where it was, and gets what it has missed.
protocol ReplayTransport: SessionTransport {
    /// Says what a client has missed since it was here before.
    ///
    /// - Parameter replay: Tells that, as far as it fits into so many bytes.
    func resume(_ replay: (_ room: Int, _ completion: @escaping (Replay) -> Void) -> Void)
}
