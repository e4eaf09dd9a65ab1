public import NIOCore

/// When a client's address is banned automatically (`AUTO_BAN`).
public struct AutoBan: Sendable, Equatable {
    /// How many violations are tolerated in a period.
    public let violations: Rate
    /// How long the ban lasts.
    public let duration: TimeAmount
}
