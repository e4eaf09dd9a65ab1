public import NIOCore

/// Reads the values of the API's paths and parameters.
public enum OperatorSyntax {
    /// How long a ban may last.
    public static let banDurations = TimeAmount.seconds(1)...TimeAmount.hours(30 * 24)

    /// A decoded path segment; nil when it is not UTF-8.
    public static func text(_ part: some StringProtocol) -> String? {
        String(validating: PercentEncoding.bytes(part.utf8), as: UTF8.self)
    }

    /// Whether this is a valid type for an event on event streams.
    public static func isEventType(_ text: String) -> Bool { EventStreamText.isEventType(text) }

    /// The subject of a ban; nil when the kind or the value is not valid.
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
