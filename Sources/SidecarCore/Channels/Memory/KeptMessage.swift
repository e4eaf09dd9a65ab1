import NIOCore

/// A message in a history.
struct KeptMessage: Sendable {
    let message: StoredMessage
    let expiresAt: Int64
    /// Its number in the order of all messages of the process.
    let sequence: UInt64
    /// The reader that does not get it (``StreamCursor/reader(_:)``); 0 for none.
    let excluded: UInt64

    /// What it counts for in the budget, in bytes.
    var bytes: Int { message.payload.readableBytes + HistoryBudget.messageOverhead }
}
