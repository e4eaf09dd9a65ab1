/// A ban as an operator sees it.
public struct BanInfo: Sendable, Equatable {
    /// Whom it keeps out.
    public var subject: BanSubject
    /// When it ends, in milliseconds since 1970.
    public var expiresAt: Int64
    /// Why.
    public var reason: String

    /// A ban.
    public init(subject: BanSubject, expiresAt: Int64, reason: String) {
        self.subject = subject
        self.expiresAt = expiresAt
        self.reason = reason
    }
}

/// The result of a ban.
public struct BanReceipt: Sendable, Equatable {
    /// The ban as it holds now.
    public var ban: BanInfo
    /// False when the subject was banned already, so that only the end and the reason have changed.
    public var isNew: Bool

    /// A result.
    public init(ban: BanInfo, isNew: Bool) {
        self.ban = ban
        self.isNew = isNew
    }
}
