public import NIOCore

/// A frame from a client of the protocol.
public enum ClientFrame: Sendable, Equatable {
    /// A message for the app; its payload as it stood in the frame.
    case message(MessageLabel, MessageFormat, ByteBuffer)
    /// An event for the other members of a channel.
    case clientEvent(ClientEvent)
    /// A returning client says what it has.
    case resume(ResumeRequest)
    /// The client has everything up to this `seq`.
    case acknowledge(UInt64)
    /// Wants a `$pong`.
    case ping
    /// Answers a `$ping`.
    case pong
    /// The client ends the session, over HTTP.
    case close
    /// A new token for the connection.
    case token(String, id: String?)

    /// The id to which its answer refers, if it wants one.
    public var id: String? {
        switch self {
        case .message(let label, _, _): label.id
        case .clientEvent(let event): event.id
        case .token(_, let id): id
        case .resume, .acknowledge, .ping, .pong, .close: nil
        }
    }

    /// The longest `id`, in bytes.
    public static let maxIDBytes = 64
    /// How deep a payload may be nested.
    public static let maxDepth = 100
    /// The most members that a frame may have.
    static let maxMembers = 64
    /// The longest name of a member, in bytes.
    static let maxNameBytes = 256
}

/// An event that a client sends to the other members of a channel.
public struct ClientEvent: Sendable, Equatable {
    /// Its type, which begins with `client-`.
    public let type: String
    /// The client's id for it, if it wants to hear of errors.
    public let id: String?
    /// The channel.
    public let channel: ChannelName
    /// What kind of data the payload is.
    public let format: MessageFormat
    /// The payload as it stood in the frame.
    public let payload: ByteBuffer
}

/// What a returning client has got.
public struct ResumeRequest: Sendable, Equatable {
    /// A position as the client remembers it, which may be anything.
    public struct Position: Sendable, Equatable {
        /// The offset of the last message.
        public let offset: UInt64
        /// The epoch of the channel.
        public let epoch: ChannelEpoch
        /// The id of the last message.
        public let id: MessageID
    }

    /// The last `seq` of its messages.
    public let seq: UInt64
    /// The last message of each channel.
    public let channels: [ChannelName: Position]
    /// The session that it had, so that it does not get what excluded that one.
    public let session: String?
}

/// Why a client's message is not a frame that can be carried out.
public enum ClientFrameFault: Error, Sendable, Equatable {
    /// It is not a frame at all; the connection is closed with 4400. The text becomes its reason.
    case notAFrame(String)
    /// It is a frame that breaks a rule; it is answered with `$error` and the code `bad_frame`.
    ///
    /// - Parameters:
    ///   - id: The `id` of the frame, if it has a valid one.
    ///   - message: What is wrong, for the developer of the client.
    case badFrame(id: String?, message: String)
}

extension ProtocolEncoding {
    /// Reads a client's message.
    ///
    /// - Parameters:
    ///   - format: Text or binary, as it came.
    ///   - message: The message; text has been checked to be UTF-8.
    public func read(_ format: MessageFormat, _ message: ByteBuffer) throws(ClientFrameFault) -> ClientFrame {
        guard format.isText == (self == .json) else {
            throw .notAFrame(self == .json ? "a frame must be text" : "a frame must be binary")
        }
        var fields = FrameFields(message, in: self)
        switch self {
        case .json: try fields.scanJSON()
        case .messagePack: try fields.scanMessagePack()
        }
        return try fields.frame()
    }
}
