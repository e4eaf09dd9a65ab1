public import NIOCore

/// A frame to a client of the protocol, apart from publications (``ProtocolEncoding/publication(_:_:event:at:of:time:)``).
public enum ServerFrame: Sendable {
    /// The first frame.
    case welcome(Welcome)
    /// The replay after `$welcome` is over.
    case live
    /// A message of the app to this client, an answer or not.
    case message(SentMessage)
    /// The app has handled a message, and answers with nothing.
    ///
    /// - Parameter isRepeat: It had been handled before.
    case acknowledged(String, isRepeat: Bool)
    /// Something could not be done.
    case error(ProtocolError)
    /// The client is in a channel, whose messages begin after this position.
    ///
    /// - Parameters:
    ///   - isRecovered: Whether a returning client gets all that it has missed; nil where that is no question.
    ///   - members: Who is in the channel; nil without `presence=on`.
    case joined(ChannelName, ChannelPosition, isRecovered: Bool? = nil, members: MemberSnapshot? = nil)
    /// The client is no longer in a channel.
    case left(ChannelName)
    /// A user has come into a channel, or is gone (`presence=on`); so many are there now.
    case member(ChannelName, MemberEvent, count: Int)
    /// Who is in a channel, since the client has missed who came and went.
    case members(ChannelName, MemberSnapshot)
    /// Messages of a channel are lost; the next ones follow this position.
    case gap(ChannelName, ChannelPosition)
    /// Answers a `$ping`.
    case pong
    /// The connection is about to be closed.
    ///
    /// - Parameter reconnectAfter: The time after which to connect again, in milliseconds; nil for not at all.
    case bye(SessionCloseCode, reconnectAfter: Int64?)
}

/// What a client is told first.
public struct Welcome: Sendable {
    /// Where the client begins in a channel.
    public enum Place: Sendable {
        /// After this position.
        ///
        /// - Parameters:
        ///   - isRecovered: Whether a returning client gets all that it has missed; nil for a new one.
        ///   - members: Who is in the channel; nil without `presence=on`.
        case position(ChannelPosition, isRecovered: Bool?, members: MemberSnapshot? = nil)
        /// It is not known yet, since the engine is away; `$joined` follows.
        case pending
    }

    /// How the client can resume the session.
    public struct Resume: Sendable {
        /// What it has to offer then.
        public let token: ResumeToken
        /// How long the session waits for it, in milliseconds.
        public let window: Int64

        /// A way back.
        public init(token: ResumeToken, window: Int64) {
            self.token = token
            self.window = window
        }
    }

    /// The connection's id.
    public var session: String
    /// Whether this is a session that was there before.
    public var isResumed: Bool
    /// How to resume it; nil where that is off.
    public var resume: Resume?
    /// How long a connection may be silent, in milliseconds, before the client should ask for a sign of life; nil where
    /// pings are off.
    public var ping: Int64?
    /// The most bytes that a frame of the client may have.
    public var maxBytes: Int
    /// The last `seq` that the client has.
    public var seq: UInt64
    /// The user's name, if it has one.
    public var user: UserName?
    /// All channels that the client is in.
    public var channels: [(ChannelName, Place)]
    /// What channels may offer beyond messages.
    public var features: [String]

    /// What a client is told.
    public init(
        session: String,
        isResumed: Bool,
        resume: Resume?,
        ping: Int64?,
        maxBytes: Int,
        seq: UInt64,
        user: UserName?,
        channels: [(ChannelName, Place)],
        features: [String] = []
    ) {
        self.features = features
        self.session = session
        self.isResumed = isResumed
        self.resume = resume
        self.ping = ping
        self.maxBytes = maxBytes
        self.seq = seq
        self.user = user
        self.channels = channels
    }
}

/// A message of the app to one client.
public struct SentMessage: Sendable {
    /// Its type; nil for the usual one, which is `reply` for an answer and `message` for any other.
    public let type: String?
    /// The id of the message that it answers, if it does.
    public let answers: String?
    /// Its number among the messages to the session.
    public let seq: UInt64
    /// When it was sent, in milliseconds since 1970.
    public let time: Int64
    /// What kind of data the payload is.
    public let format: MessageFormat
    /// The message's bytes.
    public let payload: ByteBuffer

    /// A message.
    public init(
        type: String?,
        answers: String?,
        seq: UInt64,
        time: Int64,
        format: MessageFormat,
        payload: ByteBuffer
    ) {
        self.type = type
        self.answers = answers
        self.seq = seq
        self.time = time
        self.format = format
        self.payload = payload
    }
}

extension ProtocolEncoding {
    /// A frame as the payload of a message.
    public func write(_ frame: ServerFrame) -> ByteBuffer {
        var buffer = ByteBuffer()
        if case .message(let message) = frame { buffer.reserveCapacity(160 + message.payload.readableBytes) }
        var writer = FrameWriter(self, into: buffer)
        switch frame {
        case .welcome(let welcome): write(welcome, with: &writer)
        case .live: writer.write("type", "$live")
        case .message(let message): write(message, with: &writer)
        case .acknowledged(let id, let isRepeat):
            writer.write("type", "$ack")
            writer.write("re", id)
            if isRepeat { writer.write("dup", true) }
        case .error(let error): write(error, with: &writer)
        case .joined(let channel, let position, let isRecovered, let members):
            writer.write("type", "$joined")
            writer.write("channel", channel.text)
            writer.write(position)
            if let isRecovered { writer.write("recovered", isRecovered) }
            if let members { writer.write(members) }
        case .left(let channel):
            writer.write("type", "$left")
            writer.write("channel", channel.text)
        case .member(let channel, let event, let count):
            writer.write("type", "$member")
            writer.write("channel", channel.text)
            writer.write("user", event.user.text)
            writer.write("event", event.hasJoined ? "joined" : "left")
            writer.write("count", UInt64(clamping: count))
        case .members(let channel, let members):
            writer.write("type", "$member")
            writer.write("channel", channel.text)
            writer.write("event", "reset")
            writer.write(members)
        case .gap(let channel, let position):
            writer.write("type", "$gap")
            writer.write("channel", channel.text)
            writer.write(position)
        case .pong: writer.write("type", "$pong")
        case .bye(let code, let delay):
            writer.write("type", "$bye")
            writer.write("code", UInt64(code.rawValue))
            writer.write("reconnect", delay != nil)
            if let delay { writer.write("after", delay) }
        }
        return writer.finish()
    }

    /// A publication as the payload of a message, the same for all subscribers.
    ///
    /// - Parameters:
    ///   - event: The type that it was published with; nil for the usual one.
    ///   - time: When it was published, in milliseconds since 1970.
    public func publication(
        _ format: MessageFormat,
        _ payload: ByteBuffer,
        event: String?,
        at position: ChannelPosition,
        of channel: ChannelName,
        time: Int64
    ) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(160 + channel.text.utf8.count + payload.readableBytes)
        var writer = FrameWriter(self, into: buffer)
        writer.write("type", event ?? "message")
        writer.write("id", position.id.description)
        writer.write("ts", time)
        writer.write("channel", channel.text)
        writer.write("offset", position.offset)
        writer.write(payload: payload, format)
        return writer.finish()
    }

    /// An event of another client as the payload of a message, the same for all members.
    public func clientEvent(_ event: ClientBroadcast) -> ByteBuffer {
        var writer = FrameWriter(self, into: ByteBuffer())
        writer.write("type", event.type)
        writer.write("channel", event.channel.text)
        if let user = event.user { writer.write("user", user.text) }
        writer.write(clientPayload: event.payload, event.format)
        return writer.finish()
    }

    private func write(_ welcome: Welcome, with writer: inout FrameWriter) {
        writer.write("type", "$welcome")
        writer.write("session", welcome.session)
        writer.write("resumed", welcome.isResumed)
        if let resume = welcome.resume {
            writer.write("resume", resume.token.text)
            writer.write("ttl", resume.window)
        }
        if let ping = welcome.ping { writer.write("ping", ping) }
        writer.write("maxBytes", UInt64(clamping: welcome.maxBytes))
        writer.write("seq", welcome.seq)
        if let user = welcome.user { writer.write("user", user.text) }
        writer.write("channels", welcome.channels.map { (name: $0.text, value: $1) }) { place, writer in
            switch place {
            case .position(let position, let isRecovered, let members):
                writer.write(position)
                if let isRecovered { writer.write("recovered", isRecovered) }
                if let members { writer.write(members) }
            case .pending: writer.write("pending", true)
            }
        }
        writer.write("features", welcome.features)
    }

    private func write(_ message: SentMessage, with writer: inout FrameWriter) {
        writer.write("type", message.type ?? (message.answers == nil ? "message" : "reply"))
        if let id = message.answers { writer.write("re", id) }
        writer.write("seq", message.seq)
        writer.write("ts", message.time)
        writer.write(payload: message.payload, message.format)
    }

    private func write(_ error: ProtocolError, with writer: inout FrameWriter) {
        writer.write("type", "$error")
        if let id = error.id { writer.write("re", id) }
        writer.write("code", error.code.rawValue)
        if let status = error.status { writer.write("status", UInt64(clamping: status)) }
        writer.write("message", error.message)
        writer.write("retry", error.mayRetry)
        if let delay = error.retryAfter { writer.write("after", delay) }
        if let content = error.content { writer.write(payload: content.payload, content.format) }
    }
}

extension FrameWriter {
    fileprivate mutating func write(_ position: ChannelPosition) {
        write("offset", position.offset)
        write("epoch", position.epoch.description)
        write("id", position.id.description)
    }

    fileprivate mutating func write(_ members: MemberSnapshot) {
        write("members", members.users.map(\.text))
        write("count", UInt64(clamping: members.count))
    }
}
