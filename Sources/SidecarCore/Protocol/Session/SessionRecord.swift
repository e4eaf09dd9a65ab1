public import NIOCore

/// A session of the protocol on its way to another node. The app has answered all of its events.
public struct SessionRecord: Sendable {
    /// Who the client's token says it is.
    public struct Token: Sendable, Equatable {
        /// The user.
        public let user: UserName
        /// When it expires, in seconds since 1970.
        public let expiresAt: Double

        /// What a token said.
        public init(user: UserName, expiresAt: Double) {
            self.user = user
            self.expiresAt = expiresAt
        }
    }

    /// Why it has no client, and for how long it waits for it.
    public struct Absence: Sendable, Equatable {
        /// What the app is told if the client does not return.
        public var code: SessionCloseCode
        /// Why it was closed; may be empty.
        public var reason: String
        /// By whom.
        public var initiator: CloseInitiator
        /// The cause.
        public var cause: CloseCause
        /// For how much longer.
        public var left: TimeAmount
        /// Whether the app has been told (`SESSION_EVENTS`).
        public var isTold: Bool

        /// An absence.
        public init(
            code: SessionCloseCode,
            reason: String,
            initiator: CloseInitiator,
            cause: CloseCause,
            left: TimeAmount,
            isTold: Bool
        ) {
            self.code = code
            self.reason = reason
            self.initiator = initiator
            self.cause = cause
            self.left = left
            self.isTold = isTold
        }
    }

    /// The connection's id.
    public var id: String
    /// The facts for requests about it (``WebhookConnection/record``).
    public var connection: [UInt8]
    /// Who the client is.
    public var identity: ConnectionIdentity
    /// What its token said; nil without one.
    public var token: Token?
    /// Where its events stand.
    public var standing: SessionStateMachine.Standing
    /// When its rates allow everything again, in nanoseconds from now.
    public var messageDebt: Int64
    /// The same for its bytes.
    public var byteDebt: Int64
    /// How many messages it has published.
    public var publications: Int
    /// When it was opened, in milliseconds since 1970, if somebody has asked.
    public var openedAt: Int64?
    /// The channels that it is in.
    public var channels: [ChannelName]
    /// Where it has come into them.
    public var places: ChannelPlaces
    /// The ids of its messages that were answered.
    public var requests: RequestLedger
    /// The messages that it may not have got.
    public var stream: DirectStream
    /// The tokens with which it can be resumed.
    public var tokens: [ResumeToken.Hash]
    /// What has to be the same when it is resumed, as the server writes it.
    public var terms: [UInt8]
    /// Why it has no client.
    public var absence: Absence
    /// How long ago the handshake of the connection that last resumed it was accepted.
    public var attemptAge: TimeAmount

    /// A record of these parts.
    public init(
        id: String,
        connection: [UInt8],
        identity: ConnectionIdentity,
        token: Token?,
        standing: SessionStateMachine.Standing,
        messageDebt: Int64,
        byteDebt: Int64,
        publications: Int,
        openedAt: Int64?,
        channels: [ChannelName],
        places: ChannelPlaces,
        requests: RequestLedger,
        stream: DirectStream,
        tokens: [ResumeToken.Hash],
        terms: [UInt8],
        absence: Absence,
        attemptAge: TimeAmount
    ) {
        self.id = id
        self.connection = connection
        self.identity = identity
        self.token = token
        self.standing = standing
        self.messageDebt = messageDebt
        self.byteDebt = byteDebt
        self.publications = publications
        self.openedAt = openedAt
        self.channels = channels
        self.places = places
        self.requests = requests
        self.stream = stream
        self.tokens = tokens
        self.terms = terms
        self.absence = absence
        self.attemptAge = attemptAge
    }

    // MARK: As bytes

    private enum Tag {
        static let id: UInt8 = 1
        static let connection: UInt8 = 2
        static let identity: UInt8 = 3
        static let tokenUser: UInt8 = 4
        static let tokenExpiry: UInt8 = 5
        static let sequence: UInt8 = 6
        static let messagesIn: UInt8 = 7
        static let messagesOut: UInt8 = 8
        static let age: UInt8 = 9
        static let messageDebt: UInt8 = 10
        static let byteDebt: UInt8 = 11
        static let publications: UInt8 = 12
        static let openedAt: UInt8 = 13
        static let channel: UInt8 = 14
        static let places: UInt8 = 15
        static let requests: UInt8 = 16
        static let stream: UInt8 = 17
        static let resumeToken: UInt8 = 18
        static let terms: UInt8 = 19
        static let code: UInt8 = 20
        static let reason: UInt8 = 21
        static let initiator: UInt8 = 22
        static let cause: UInt8 = 23
        static let left: UInt8 = 24
        static let isTold: UInt8 = 25
        static let attemptAge: UInt8 = 26
    }

    /// Writes it.
    public func bytes(at now: NIODeadline) -> [UInt8] {
        var writer = JournalWriter(capacity: 1024 + stream.keptBytes + requests.keptBytes)
        writer.write(Tag.id, text: id)
        writer.write(Tag.connection, connection)
        writer.write(Tag.identity, identity.record)
        if let token {
            writer.write(Tag.tokenUser, text: token.user.text)
            writer.write(Tag.tokenExpiry, number: token.expiresAt.bitPattern)
        }
        writer.write(Tag.sequence, number: standing.sequence)
        writer.write(Tag.messagesIn, number: UInt64(clamping: standing.messagesIn))
        writer.write(Tag.messagesOut, number: UInt64(clamping: standing.messagesOut))
        writer.write(Tag.age, number: UInt64(clamping: standing.age.nanoseconds))
        writer.write(Tag.messageDebt, number: UInt64(clamping: messageDebt))
        writer.write(Tag.byteDebt, number: UInt64(clamping: byteDebt))
        writer.write(Tag.publications, number: UInt64(clamping: publications))
        if let openedAt { writer.write(Tag.openedAt, number: UInt64(clamping: openedAt)) }
        for channel in channels { writer.write(Tag.channel, text: channel.text) }
        writer.write(Tag.places, places.record)
        writer.write(Tag.requests, requests.record(at: now))
        writer.write(Tag.stream, stream.record)
        for token in tokens { writer.write(Tag.resumeToken, text: token.text) }
        writer.write(Tag.terms, terms)
        writer.write(Tag.code, number: UInt64(absence.code.rawValue))
        writer.write(Tag.reason, text: absence.reason)
        writer.write(Tag.initiator, text: absence.initiator.rawValue)
        writer.write(Tag.cause, text: absence.cause.rawValue)
        writer.write(Tag.left, number: UInt64(clamping: absence.left.nanoseconds))
        writer.write(Tag.isTold, number: absence.isTold ? 1 : 0)
        writer.write(Tag.attemptAge, number: UInt64(clamping: attemptAge.nanoseconds))
        return writer.record
    }

    /// Reads it; what a later version has added at its end is left out.
    public init(bytes: [UInt8], at now: NIODeadline) throws(JournalFault) {
        var reader = try JournalReader(bytes)
        id = try reader.text(Tag.id)
        connection = Array(try reader.needed(Tag.connection))
        identity = try ConnectionIdentity(record: Array(try reader.needed(Tag.identity)))
        if let user = try reader.takeText(Tag.tokenUser) {
            let expiry = Double(bitPattern: try reader.number(Tag.tokenExpiry))
            guard user.utf8.count <= UserName.maxBytes, expiry.isFinite else { throw .malformed }
            token = Token(user: UserName(user), expiresAt: expiry)
        }
        standing = SessionStateMachine.Standing(
            sequence: try reader.number(Tag.sequence),
            messagesIn: try reader.count(Tag.messagesIn),
            messagesOut: try reader.count(Tag.messagesOut),
            age: try reader.duration(Tag.age)
        )
        messageDebt = Int64(clamping: try reader.number(Tag.messageDebt))
        byteDebt = Int64(clamping: try reader.number(Tag.byteDebt))
        publications = try reader.count(Tag.publications)
        openedAt = try reader.take(Tag.openedAt).map { Int64(clamping: JournalReader.number($0)) }
        channels = []
        while let text = try reader.takeText(Tag.channel) {
            guard let channel = ChannelName(text) else { throw .malformed }
            channels.append(channel)
        }
        places = try ChannelPlaces(record: Array(try reader.needed(Tag.places)))
        requests = try RequestLedger(record: Array(try reader.needed(Tag.requests)), at: now)
        stream = try DirectStream(record: Array(try reader.needed(Tag.stream)))
        tokens = []
        while let text = try reader.takeText(Tag.resumeToken) {
            guard let token = ResumeToken.Hash(text), tokens.count < 16 else { throw .malformed }
            tokens.append(token)
        }
        terms = Array(try reader.needed(Tag.terms))
        let code = UInt16(exactly: try reader.number(Tag.code))
        let reason = try reader.text(Tag.reason)
        let initiator = CloseInitiator(rawValue: try reader.text(Tag.initiator))
        let cause = CloseCause(rawValue: try reader.text(Tag.cause))
        let left = try reader.duration(Tag.left)
        let isTold = try reader.number(Tag.isTold) == 1
        attemptAge = try reader.duration(Tag.attemptAge)
        // The sequence must leave room for those that follow.
        guard let code, let initiator, let cause, !tokens.isEmpty, standing.sequence < 1 << 62 else { throw .malformed }
        absence = Absence(
            code: SessionCloseCode(rawValue: code),
            reason: reason,
            initiator: initiator,
            cause: cause,
            left: left,
            isTold: isTold
        )
    }
}

extension JournalReader {
    fileprivate mutating func needed(_ tag: UInt8) throws(JournalFault) -> ArraySlice<UInt8> {
        guard let value = try take(tag) else { throw .malformed }
        return value
    }

    /// A count that leaves room for more.
    fileprivate mutating func count(_ tag: UInt8) throws(JournalFault) -> Int { Int(min(try number(tag), 1 << 62)) }

    /// Nanoseconds, at most those of ten years.
    fileprivate mutating func duration(_ tag: UInt8) throws(JournalFault) -> TimeAmount {
        .nanoseconds(Int64(min(try number(tag), 315_360_000_000_000_000)))
    }
}
