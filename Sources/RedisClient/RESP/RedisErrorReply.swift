/// An error that the server answered with.
public struct RedisErrorReply: Error, Sendable, Hashable {
    /// The first word, such as `ERR`, `WRONGTYPE` or `NOPERM`; empty when the text does not begin with one.
    public let code: String
    /// What follows the code.
    public let message: String

    /// Splits an error's text into code and message.
    public init(_ text: String) {
        let first = text.prefix { $0 != " " }
        let isCode = !first.isEmpty && first.utf8.allSatisfy { ($0 >= 0x41 && $0 <= 0x5A) || $0 == 0x5F }
        code = isCode ? String(first) : ""
        message = isCode ? String(text.dropFirst(first.count + 1)) : text
    }

    /// True when a script has failed that may have written something before.
    ///
    /// Redis refuses with the other codes before the first command that writes.
    public var isWithinScript: Bool {
        text.contains("user_script") && !["OOM", "READONLY", "NOREPLICAS", "MISCONF"].contains(code)
    }

    /// Code and message, as the server sent them.
    public var text: String {
        if code.isEmpty { return message }
        return message.isEmpty ? code : "\(code) \(message)"
    }
}
