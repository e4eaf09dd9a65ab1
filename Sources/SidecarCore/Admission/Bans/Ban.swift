/// One ban.
public struct Ban: Sendable, Equatable {
    /// Whom it keeps out.
    public let subject: BanSubject
    /// The end, in nanoseconds of a clock that never jumps.
    public let until: Int64
    /// The end for people, in milliseconds since 1970, as it was when the ban was made.
    public let expiresAt: Int64
    /// Why, in our own words.
    public let reason: String

    /// Makes one.
    public init(subject: BanSubject, until: Int64, expiresAt: Int64 = 0, reason: String) {
        self.subject = subject
        self.until = until
        self.expiresAt = expiresAt
        self.reason = reason
    }
}
