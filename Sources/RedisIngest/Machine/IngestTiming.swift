import NIOCore

/// Times and bounds of reading a stream.
struct IngestTiming: Sendable {
    /// How long the lease holds without a renewal. With the pauses of those who wait for it, another node reads within
    /// 10 s.
    var lease = TimeAmount.seconds(6)
    /// How often the lease is renewed.
    var renewal = TimeAmount.seconds(2)
    /// How often a node without the lease asks for it; at random within this range.
    var contention: ClosedRange<TimeAmount> = .milliseconds(250) ... .milliseconds(500)
    /// The pauses after failures.
    var pauses: ClosedRange<TimeAmount> = .milliseconds(50) ... .seconds(5)
    /// The pause before reading again when the server cannot be asked to wait for entries.
    var polling = TimeAmount.milliseconds(100)
    /// How long the end waits for what is under way.
    var drain = TimeAmount.seconds(5)
    /// How many entries may be unacknowledged.
    var maxEntries = 1_000
    /// How many entries are read, or acknowledged, at once. The server does nothing else meanwhile.
    var batch = 100
    /// How long acknowledgements wait for others.
    var gathering = TimeAmount.milliseconds(2)
    /// How many bytes of entries may wait. One entry may pass it.
    var maxBytes = 64 << 20
    /// How many bytes are read at once. One entry may pass it.
    var batchBytes = 4 << 20

    /// The lease counts as lost this long before the server ends it, for publications that have just begun.
    var margin: TimeAmount { .nanoseconds(lease.nanoseconds / 6) }
    /// How long a command about the lease may take.
    var leaseTimeout: TimeAmount { .nanoseconds(max(1, lease.nanoseconds / 2)) }
}
