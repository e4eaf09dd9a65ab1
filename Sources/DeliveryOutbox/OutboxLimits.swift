/// What an outbox takes and gives back at most.
struct OutboxLimits: Sendable {
    /// Bytes of messages that wait for the disk, `PendingMessages.overhead` per message included.
    var bufferedBytes = 64 * 1_024 * 1_024
    /// Bytes of one message's payload, a context, an identity or a report.
    var fieldBytes = 64 * 1_024 * 1_024
    /// Bytes of a connection's id.
    var idBytes = 1_024
    /// From the first record to the write, in milliseconds.
    var flushMilliseconds = 2
    /// The longest pause between two attempts while writing fails, in milliseconds.
    var retryMilliseconds = 1_000
    /// The shortest time between two sentences about writing, in nanoseconds.
    var reportNanoseconds: UInt64 = 60_000_000_000
}
