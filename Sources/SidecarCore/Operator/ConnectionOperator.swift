public import NIOCore

/// What an operator sees of one connection.
public struct ConnectionInfo: Sendable, Equatable {
    /// Its name.
    public var id: String
    /// Who it is, when that is known.
    public var user: UserName?
    /// The client's address.
    public var address: String
    /// The path and query that the client asked for.
    public var subject: String
    /// When it was accepted, in milliseconds since 1970.
    public var openedAt: Int64
    /// Data messages of the client.
    public var messagesIn: Int
    /// Data messages to the client.
    public var messagesOut: Int
    /// Bytes that the app has not answered.
    public var pendingBytes: Int
    /// The channels that it is in.
    public var channels: [ChannelName]

    /// Makes one.
    public init(
        id: String,
        user: UserName?,
        address: String,
        subject: String,
        openedAt: Int64,
        messagesIn: Int,
        messagesOut: Int,
        pendingBytes: Int,
        channels: [ChannelName] = []
    ) {
        self.channels = channels
        self.id = id
        self.user = user
        self.address = address
        self.subject = subject
        self.openedAt = openedAt
        self.messagesIn = messagesIn
        self.messagesOut = messagesOut
        self.pendingBytes = pendingBytes
    }

    /// Writes it as a JSON object.
    public func writeJSON(into buffer: inout ByteBuffer) {
        buffer.writeStaticString("{\"id\":")
        buffer.writeJSONString(id)
        buffer.writeStaticString(",\"user\":")
        if let user { buffer.writeJSONString(user.text) } else { buffer.writeStaticString("null") }
        buffer.writeStaticString(",\"ip\":")
        buffer.writeJSONString(address)
        buffer.writeStaticString(",\"subject\":")
        buffer.writeJSONString(subject)
        buffer.writeStaticString(",\"openedAt\":\"")
        Timestamp.write(unixMilliseconds: openedAt, into: &buffer)
        buffer.writeString(
            "\",\"messagesIn\":\(messagesIn),\"messagesOut\":\(messagesOut),\"pendingBytes\":\(pendingBytes),\"channels\":["
        )
        for (index, channel) in channels.enumerated() {
            if index > 0 { buffer.writeStaticString(",") }
            buffer.writeJSONString(channel.text)
        }
        buffer.writeStaticString("]}")
    }
}

/// Which connections are listed.
public struct ConnectionFilter: Sendable, Equatable {
    /// Of this user; nil for all.
    public var user: UserName?
    /// Of this address; nil for all.
    public var address: IPAddress?
    /// In this channel; nil for all.
    public var channel: ChannelName?

    /// Makes one.
    public init(user: UserName? = nil, address: IPAddress? = nil, channel: ChannelName? = nil) {
        self.user = user
        self.address = address
        self.channel = channel
    }
}

/// A message past all channels.
public struct DirectMessage: Sendable, Equatable {
    /// Text or binary.
    public let format: MessageFormat
    /// The message.
    public let payload: ByteBuffer
    /// The event type on event streams; nil for the usual one.
    public let event: String?
    /// Whether the answer waits, for ten seconds at most, until the kernel has taken it.
    public let waitsForKernel: Bool

    /// Makes one.
    public init(_ format: MessageFormat, _ payload: ByteBuffer, event: String?, waitsForKernel: Bool) {
        self.format = format
        self.payload = payload
        self.event = event
        self.waitsForKernel = waitsForKernel
    }
}

/// What became of a message at those that it was for.
public struct DeliveryCounts: Sendable, Equatable {
    /// Connections that it was for.
    public var matched: Int
    /// Those that it was queued for.
    public var queued: Int
    /// Those that had no room for it.
    public var dropped: Int

    /// Makes one.
    public init(matched: Int = 0, queued: Int = 0, dropped: Int = 0) {
        self.matched = matched
        self.queued = queued
        self.dropped = dropped
    }

    /// As members of a JSON object.
    public var json: String { "\"matched\":\(matched),\"queued\":\(queued),\"dropped\":\(dropped)" }
}

/// What became of a publication.
public struct PublicationReceipt: Sendable, Equatable {
    /// Its place.
    public let position: ChannelPosition
    /// How many got it.
    public let counts: DeliveryCounts

    /// Makes one.
    public init(position: ChannelPosition, counts: DeliveryCounts) {
        self.position = position
        self.counts = counts
    }
}

/// What came of adding a connection to a channel.
public enum SubscriptionAnswer: Sendable, Equatable {
    case subscribed
    case noConnection
    /// It has as many channels as allowed.
    case tooMany
}

/// A part of a list that is ordered by id.
public struct ConnectionPage: Sendable, Equatable {
    /// The connections.
    public var connections: [ConnectionInfo]
    /// Ask for those after this one next; nil when these were the last.
    public var next: String?

    /// Makes one.
    public init(connections: [ConnectionInfo], next: String?) {
        self.connections = connections
        self.next = next
    }
}

/// What came of a new token for a connection.
public enum TokenRenewal: Sendable, Equatable {
    case renewed
    case noConnection
    /// Why not, in one sentence.
    case refused(String)
}

/// What the API can do with the connections of a process.
public protocol ConnectionOperator: Sendable {
    /// Connections in the order of their ids.
    func connections(_ filter: ConnectionFilter, after: String?, limit: Int) async -> ConnectionPage
    /// One connection; nil when there is none.
    func connection(_ id: String) async -> ConnectionInfo?
    /// Sends a message to one connection; nil when there is none.
    func send(_ message: DirectMessage, to id: String) async -> DeliveryCounts?
    /// Sends a message to all connections of a user.
    func send(_ message: DirectMessage, toUser user: UserName) async -> DeliveryCounts
    /// Sends a message to a channel, but for one connection.
    func publish(
        _ publication: Publication,
        excluding id: String?,
        waitsForKernel: Bool
    ) async throws(ChannelFailure) -> PublicationReceipt
    /// Adds a connection to a channel.
    func subscribe(_ id: String, to channel: ChannelName) async -> SubscriptionAnswer
    /// Takes a connection out of a channel; false when there is no such connection.
    func unsubscribe(_ id: String, from channel: ChannelName) async -> Bool
    /// One channel, with the users in it.
    func channel(_ name: ChannelName) async throws(ChannelFailure) -> (ChannelSummary, users: [UserName])
    /// Channels by name.
    func channels(prefix: String, after: String?, limit: Int) async throws(ChannelFailure) -> [ChannelSummary]
    /// What is kept of a channel.
    func history(
        of channel: ChannelName,
        _ part: HistoryPart,
        epoch: String?,
        limit: Int
    ) async throws(ChannelFailure) -> ChannelHistory
    /// Closes a connection; false when there is none.
    func close(_ id: String, _ request: CloseRequest) async -> Bool
    /// Closes the connections of a user, and says how many they were.
    func closeConnections(ofUser user: UserName, _ request: CloseRequest) async -> Int
    /// Hands a connection a new token.
    func renewToken(_ token: String, of id: String) async -> TokenRenewal
    /// Bans, and closes what is banned.
    func ban(
        _ subject: BanSubject,
        for ttl: TimeAmount,
        reason: String
    ) async -> (addition: BanTable.Addition, ban: BanInfo)
    /// Ends a ban; false when there is none.
    func unban(_ subject: BanSubject) -> Bool
    /// One ban.
    func ban(of subject: BanSubject) -> BanInfo?
    /// All bans.
    func bans() -> [BanInfo]
}

/// A ban as an operator sees it.
public struct BanInfo: Sendable, Equatable {
    /// Whom it keeps out.
    public var subject: BanSubject
    /// When it ends, in milliseconds since 1970.
    public var expiresAt: Int64
    /// Why.
    public var reason: String

    /// Makes one.
    public init(subject: BanSubject, expiresAt: Int64, reason: String) {
        self.subject = subject
        self.expiresAt = expiresAt
        self.reason = reason
    }

    /// Writes it as a JSON object.
    public func writeJSON(into buffer: inout ByteBuffer) {
        buffer.writeString("{\"kind\":\"\(subject.kind)\",\"value\":")
        buffer.writeJSONString(subject.value)
        buffer.writeStaticString(",\"expiresAt\":\"")
        Timestamp.write(unixMilliseconds: expiresAt, into: &buffer)
        buffer.writeStaticString("\",\"reason\":")
        buffer.writeJSONString(reason)
        buffer.writeStaticString("}")
    }
}

/// Reads the values of the API's paths and parameters.
public enum OperatorSyntax {
    /// How long a ban may last.
    public static let banDurations = TimeAmount.seconds(1)...TimeAmount.hours(30 * 24)

    /// A part of a path without its percent-encoding; nil when that is not UTF-8.
    public static func text(_ part: some StringProtocol) -> String? {
        String(validating: PercentEncoding.bytes(part.utf8), as: UTF8.self)
    }

    /// Whether an event on event streams may be of this type.
    public static func isEventType(_ text: String) -> Bool { EventStreamText.isEventType(text) }

    /// The subject of a ban; nil when the kind or the value is none.
    public static func subject(kind: String, value: String) -> BanSubject? {
        switch kind {
        case "ip": (try? IPNetwork(parsing: value)).map { .network($0) }
        case "user" where !value.isEmpty && value.utf8.count <= UserName.maxBytes: .user(UserName(value))
        default: nil
        }
    }

    /// The duration of a ban.
    public static func banDuration(_ text: String) -> TimeAmount? {
        try? ValueSyntax<TimeAmount>.duration(banDurations).read(text)
    }
}
