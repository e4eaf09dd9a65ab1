import NIOCore

/// One change made through the API, or by Sidesocket itself.
public struct AuditRecord: Sendable, Equatable {
    /// What was to be done.
    public enum Action: String, Sendable, Equatable {
        case addBan = "ban.add"
        /// A ban that Sidesocket made by itself.
        case addAutomaticBan = "ban.auto"
        case removeBan = "ban.remove"
        case closeConnection = "connection.close"
        case messageConnection = "connection.message"
        case renewToken = "connection.token"
        case subscribe = "channel.subscribe"
        case unsubscribe = "channel.unsubscribe"
        case closeUser = "user.close"
        case messageUser = "user.message"
        case drain
        /// A call that may not be made, whatever it was to do.
        case refusedCall = "api.refused"
    }

    /// The result.
    public enum Outcome: String, Sendable, Equatable {
        case ok
        case notFound = "not_found"
        case badRequest = "bad_request"
        case refused
    }

    /// What was to be done.
    public let action: Action
    /// Who made it: `api ADDRESS`, or `auto`.
    public let who: String
    /// What it was applied to.
    public let target: String
    /// The result.
    public let outcome: Outcome
    /// Further details; may be empty.
    public let detail: String

    /// Makes a record.
    public init(action: Action, who: String, target: String, outcome: Outcome, detail: String = "") {
        self.action = action
        self.who = who
        self.target = target
        self.outcome = outcome
        self.detail = detail
    }

    /// One line of JSON with its line feed.
    public func line(unixMilliseconds: Int64) -> [UInt8] {
        var line = ByteBuffer()
        line.writeStaticString("{\"time\":\"")
        Timestamp.write(unixMilliseconds: unixMilliseconds, into: &line)
        line.writeStaticString("\",\"audit\":")
        line.writeLogString(action.rawValue)
        line.writeStaticString(",\"who\":")
        line.writeLogString(who)
        line.writeStaticString(",\"target\":")
        line.writeLogString(String(target.unicodeScalars.prefix(1024).map(Character.init)))
        line.writeStaticString(",\"outcome\":\"")
        line.writeString(outcome.rawValue)
        line.writeStaticString("\",\"detail\":")
        line.writeLogString(String(detail.unicodeScalars.prefix(1024).map(Character.init)))
        line.writeStaticString("}\n")
        return Array(line.readableBytesView)
    }
}
