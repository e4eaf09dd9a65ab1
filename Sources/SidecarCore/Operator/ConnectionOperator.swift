public import NIOCore

/// What an operator sees of one connection.
public struct ConnectionInfo: Sendable, Equatable {
    /// Its name.
    public var id: String
    /// Who it is, when that is known.
    public var user: String?
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

    /// Makes one.
    public init(
        id: String,
        user: String?,
        address: String,
        subject: String,
        openedAt: Int64,
        messagesIn: Int,
        messagesOut: Int,
        pendingBytes: Int
    ) {
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
        if let user { buffer.writeJSONString(user) } else { buffer.writeStaticString("null") }
        buffer.writeStaticString(",\"ip\":")
        buffer.writeJSONString(address)
        buffer.writeStaticString(",\"subject\":")
        buffer.writeJSONString(subject)
        buffer.writeStaticString(",\"openedAt\":\"")
        EventTime.write(unixMilliseconds: openedAt, into: &buffer)
        buffer.writeString(
            "\",\"messagesIn\":\(messagesIn),\"messagesOut\":\(messagesOut),\"pendingBytes\":\(pendingBytes)}"
        )
    }
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
    /// Connections in the order of their ids: those of a user, or of an address, or all.
    func connections(user: String?, address: IPAddress?, after: String?, limit: Int) async -> ConnectionPage
    /// One connection; nil when there is none.
    func connection(_ id: String) async -> ConnectionInfo?
    /// Sends a message; false when there is no such connection.
    func send(_ format: MessageFormat, _ payload: ByteBuffer, to id: String) async -> Bool
    /// Closes a connection; false when there is none.
    func close(_ id: String, _ request: CloseRequest) async -> Bool
    /// Closes the connections of a user, and says how many they were.
    func closeConnections(ofUser user: String, _ request: CloseRequest) async -> Int
    /// Hands a connection a new token.
    func renewToken(_ token: String, of id: String) async -> TokenRenewal
    /// Bans, and closes what is banned.
    func ban(_ subject: BanSubject, for ttl: TimeAmount, reason: String) async -> BanTable.Addition
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
        EventTime.write(unixMilliseconds: expiresAt, into: &buffer)
        buffer.writeStaticString("\",\"reason\":")
        buffer.writeJSONString(reason)
        buffer.writeStaticString("}")
    }
}

/// Reads the values of the API's paths and parameters.
public enum OperatorSyntax {
    /// How long a ban may last.
    public static let banDurations = TimeAmount.seconds(1)...TimeAmount.hours(30 * 24)

    /// A part of a path without its percent-encoding; bytes that are no UTF-8 become U+FFFD.
    public static func plain(_ part: some StringProtocol) -> String { PercentText.decoded(part.utf8) }

    /// The subject of a ban; nil when the kind or the value is none.
    public static func subject(kind: String, value: String) -> BanSubject? {
        switch kind {
        case "ip": (try? IPNetwork(parsing: value)).map { .network($0) }
        case "user" where !value.isEmpty && value.utf8.count <= WebhookReply.maxUserBytes: .user(value)
        default: nil
        }
    }

    /// The duration of a ban.
    public static func banDuration(_ text: String) -> TimeAmount? {
        try? ValueSyntax<TimeAmount>.duration(banDurations).read(text)
    }

    /// What is sent for a body of this type: as a reply of the app would be; nil when it says that it is text and is
    /// not.
    public static func message(contentType: String?, body: ByteBuffer) -> (MessageFormat, ByteBuffer)? {
        guard case .message(let format, let payload)? = try? WebhookReply.output(contentType: contentType, body: body)
        else { return nil }
        return (format, payload)
    }
}
