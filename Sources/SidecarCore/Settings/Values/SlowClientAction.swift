/// What is done with a client for which more waits than its send buffer may hold.
public enum SlowClientAction: String, Sendable, Equatable, CaseIterable {
    /// It is closed with 1008.
    case close
    /// The oldest message that has not begun to go out is dropped.
    case dropOldest = "drop-oldest"
    /// The message that does not fit is dropped.
    case dropNewest = "drop-newest"
    /// Of the channel's unsent messages only the newest is kept; for channels only.
    case latest

    /// The values of `SLOW_CLIENT_ACTION`, which covers messages without a channel too.
    static let forAllMessages: [SlowClientAction] = [.close, .dropOldest, .dropNewest]
}
