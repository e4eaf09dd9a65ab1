import NIOCore
import SidecarCore

/// The client's side of an open session, on any transport.
protocol SessionTransport: AnyObject {
    /// Sends one message.
    func send(_ format: MessageFormat, _ payload: ByteBuffer)
    /// Sends one message, unless it would have to wait too long; false when it was not sent.
    ///
    /// - Parameter channel: Where it was sent.
    func sendIfPossible(_ format: MessageFormat, _ payload: ByteBuffer, of channel: ChannelName) -> Bool
    /// Sends a message shared with other clients; false when there was no room for it.
    func send(_ message: PreparedMessage) -> Bool
    /// The same for one that was published to a channel.
    func send(_ delivery: ChannelDelivery) -> Bool
    /// Whether a message would go out at once.
    var isClear: Bool { get }
    /// Settles the receipt when the kernel has taken the message sent last, or never will.
    func whenWritten(_ receipt: WriteReceipt)
    /// Closes with this code; the session has ended already.
    ///
    /// - Parameter farewell: What goes out before, whatever waits; only to clients of the protocol.
    func close(code: SessionCloseCode, reason: String, farewell: [ByteBuffer])
    /// Applies other settings: deadlines may have changed, and with `isOfTransport` also socket options.
    func settingsChanged(isOfTransport: Bool)

    /// Itself, if a returning client gets a replay on it.
    var replay: (any ReplayTransport)? { get }
    /// Whether a frame shows that the client has got `$welcome`.
    var confirmsByFrames: Bool { get }
    /// Whether the client has sent something that has not been processed.
    var hasInputWaiting: Bool { get }
    /// The session accepts messages again.
    func resumeReading()
}

extension SessionTransport {
    var replay: (any ReplayTransport)? { nil }
    func close(code: SessionCloseCode, reason: String) { close(code: code, reason: reason, farewell: []) }

    func sendIfPossible(_ format: MessageFormat, _ payload: ByteBuffer, of channel: ChannelName) -> Bool { false }

    var confirmsByFrames: Bool { true }

    // Defaults for transports on which the client sends nothing.
    var hasInputWaiting: Bool { false }
    func resumeReading() {}
}

/// A transport on which a returning client gets a replay.
protocol ReplayTransport: SessionTransport {
    /// Sends the replay.
    ///
    /// - Parameter replay: Gets the messages that fit into so many bytes.
    func resume(_ replay: (_ room: Int, _ completion: @escaping (Result<Replay, ChannelFailure>) -> Void) -> Void)
    /// Tells the client that messages are missing.
    func lostMessages()
    /// The client is in a channel from this position on; nil while it is not known. Only with a broker that orders each
    /// channel by itself.
    func begins(in channel: ChannelName, at mark: StreamMark?)
    /// The client has left a channel.
    func ends(in channel: ChannelName)
}

extension ReplayTransport {
    var replay: (any ReplayTransport)? { self }
}
