import FoundationEssentials
public import NIOCore

/// What one node asks another, in JSON.
///
/// Unknown members are ignored, and a node answers what it does not know with ``NodeAnswer/failed(_:)``, so that nodes of
/// different versions work together.
public enum NodeRequest: Codable, Sendable, Equatable {
    /// A page of connections, by id.
    case connections(ConnectionFilter, after: String?, limit: Int)
    case connection(id: String)
    case send(DirectMessage, id: String, key: String?)
    case sendToUser(DirectMessage, user: UserName, key: String?)
    case subscribe(id: String, channel: ChannelName)
    case unsubscribe(id: String, channel: ChannelName)
    case close(id: String, CloseRequest)
    case closeUser(user: UserName, CloseRequest)
    case renewToken(String, id: String)
    /// How many connections are in each of these channels.
    case presence(channels: [ChannelName])
    /// How many connections are in a channel, and a page of its users, by name.
    case members(channel: ChannelName, after: UserName?, limit: Int)
    /// A page of the users that the node has in a channel with `presence=on`.
    case memberPage(channel: ChannelName, after: UserName?, limit: Int)
    /// Whether the node has a session that can be resumed with a token, by a client with these terms.
    case findSession(token: String, terms: WireBytes, user: UserName?)
    /// Ends a session whose client has begun anew elsewhere, since the node did not answer.
    case endSession(token: String, terms: WireBytes, user: UserName?)
    /// Ends the session of a user that has waited for its client for longest, if there is one.
    case endAbsentSession(user: UserName)
    /// Gives up a session to the asking node, whose client has everything up to `seq` and was let in `age` milliseconds
    /// ago.
    case takeSession(token: String, seq: UInt64, age: Int64)
    /// Takes over a session of the asking node.
    case giveSession(MovingSession)
    /// The asking node has what was given to it with this move.
    case tookSession(move: String)
    /// The asking node will not take what was given to it with this move.
    case refusedSession(move: String)
    /// Whether the node has what was given to it with this move. If it has not, it will not take it any more.
    case hasSession(move: String)
    /// A POST of the client protocol over HTTP for a session of the node, which may wait `wait` milliseconds for something
    /// to answer.
    ///
    /// - Parameter terms: What has to be the same in all POSTs of the session.
    case post(body: WireBytes, terms: WireBytes, wait: Int64)
    /// The asking node has written a publication to its subscribers, which it was to report (``ChannelEnvelope/report``).
    case wrote(report: String, DeliveryCounts)

    /// Reads a request; nil for anything that this version does not know.
    public init?(json: ByteBuffer) {
        guard let read = try? JSONDecoder().decode(Self.self, from: Data(json.readableBytesView)) else { return nil }
        self = read
    }

    /// As JSON.
    public var json: ByteBuffer { NodeAnswer.json(self) }
}

/// The answer to a ``NodeRequest``.
public enum NodeAnswer: Codable, Sendable, Equatable {
    case connections(ConnectionPage)
    case connection(ConnectionInfo)
    case counts(DeliveryCounts)
    case done
    case closed(Int)
    /// In the order of the channels that were asked for.
    case presence([Int])
    case members(connections: Int, users: [UserName])
    case memberPage(MemberPage)
    /// A session that is now the asking node's, which has to say that it has it.
    case session(MovingSession)
    /// The app has yet to answer an event of the session.
    case sessionIsBusy
    /// The answer to a POST: its whole body; nil for none.
    case posted(frames: WireBytes?)
    /// A POST is refused with this status.
    case postRefused(status: Int, sentence: String, retryAfter: Int?)
    case failed(Failure)

    /// Why a request could not be carried out.
    public enum Failure: Codable, Sendable, Equatable {
        case noConnection
        case tooManyChannels
        case refused(String)
        case unavailable(String)
        /// The node does not know this request.
        case unknownRequest
    }

    /// Reads an answer; nil for anything that this version does not know.
    public init?(json: ByteBuffer) {
        guard let read = try? JSONDecoder().decode(Self.self, from: Data(json.readableBytesView)) else { return nil }
        self = read
    }

    /// As JSON.
    public var json: ByteBuffer { Self.json(self) }

    fileprivate static func json(_ value: some Encodable) -> ByteBuffer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        // Nothing of it can fail: there are no numbers that JSON does not have.
        return (try? encoder.encode(value)).map { ByteBuffer(bytes: $0) } ?? ByteBuffer()
    }
}

extension NodeAnswer.Failure {
    /// The failure of an operation on a node.
    public init(_ failure: OperatorFailure) {
        switch failure {
        case .noConnection: self = .noConnection
        case .tooManyChannels: self = .tooManyChannels
        case .refused(let why): self = .refused(why)
        case .unavailable(let what): self = .unavailable(what)
        case .noChannel, .historyGone, .noBan, .bansFull: self = .unavailable("The node cannot answer.")
        }
    }

    /// The failure as the caller of the API gets it; nil when it is about the node.
    public var operatorFailure: OperatorFailure? {
        switch self {
        case .noConnection: .noConnection
        case .tooManyChannels: .tooManyChannels
        case .refused(let why): .refused(why)
        case .unavailable(let what): .unavailable(what)
        case .unknownRequest: nil
        }
    }
}

// MARK: Values

/// A session on its way to another node.
public struct MovingSession: Codable, Sendable, Equatable {
    /// Random; identifies this one move of it.
    public let move: String
    /// The session (``SessionRecord``).
    public let record: WireBytes

    /// A session with this record.
    public init(move: String, record: [UInt8]) {
        self.move = move
        self.record = WireBytes(record)
    }
}

/// Any bytes, as base64.
public struct WireBytes: Codable, Sendable, Equatable {
    /// The bytes.
    public let bytes: [UInt8]

    /// Holds bytes.
    public init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// Reads them.
    public init(from decoder: any Decoder) throws {
        bytes = Array(try decoder.singleValueContainer().decode(Data.self))
    }

    /// Writes them.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(Data(bytes))
    }
}

extension UserName: Codable {
    /// Reads the name; too long a one is malformed.
    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard text.utf8.count <= Self.maxBytes else { throw WireFault.malformed }
        self.init(text)
    }

    /// Writes the name.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
}

extension ChannelName: Codable {
    /// Reads the name, and checks it.
    public init(from decoder: any Decoder) throws {
        guard let name = ChannelName(try decoder.singleValueContainer().decode(String.self)) else {
            throw WireFault.malformed
        }
        self = name
    }

    /// Writes the name.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
}

extension IPAddress: Codable {
    /// Reads the address, and checks it.
    public init(from decoder: any Decoder) throws {
        guard let address = IPAddress(try decoder.singleValueContainer().decode(String.self)) else {
            throw WireFault.malformed
        }
        self = address
    }

    /// Writes the address.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode("\(self)")
    }
}

extension CloseRequest: Codable {
    private enum Key: CodingKey {
        case code
        case reason
    }

    /// Reads the request, and checks the code.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        let code = try container.decode(Int.self, forKey: .code)
        guard let read = CloseRequest(code: code, reason: try container.decode(String.self, forKey: .reason)) else {
            throw WireFault.malformed
        }
        self = read
    }

    /// Writes the request.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(Int(code.rawValue), forKey: .code)
        try container.encode(reason, forKey: .reason)
    }
}

extension DirectMessage: Codable {
    private enum Key: CodingKey {
        case text
        case base64
        case isDeclared
        case event
        case waits
    }

    /// Reads the message, and checks it as the API does.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        let event = try container.decodeIfPresent(String.self, forKey: .event)
        guard event.map({ OperatorSyntax.isEventType($0) }) ?? true else { throw WireFault.malformed }
        let waits = try container.decode(Bool.self, forKey: .waits)
        let isDeclared = try container.decodeIfPresent(Bool.self, forKey: .isDeclared) ?? false
        if let text = try container.decodeIfPresent(String.self, forKey: .text) {
            self.init(isDeclared ? .json : .text, ByteBuffer(string: text), event: event, waitsForKernel: waits)
        } else {
            let bytes = try container.decode(Data.self, forKey: .base64)
            self.init(
                isDeclared ? .messagePack : .binary,
                ByteBuffer(bytes: bytes),
                event: event,
                waitsForKernel: waits
            )
        }
    }

    /// Writes the message.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        if format.isText {
            try container.encode(String(buffer: payload), forKey: .text)
        } else {
            try container.encode(Data(payload.readableBytesView), forKey: .base64)
        }
        if format == .json || format == .messagePack { try container.encode(true, forKey: .isDeclared) }
        try container.encodeIfPresent(event, forKey: .event)
        try container.encode(waitsForKernel, forKey: .waits)
    }
}

private enum WireFault: Error {
    case malformed
}
