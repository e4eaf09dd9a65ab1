public import NIOCore

/// An event with its sequence.
public struct Delivery: Sendable, Equatable {
    /// 1 for `open`, then one more for each event, without gaps; for a batch, that of its first message.
    public let sequence: UInt64
    /// What happened.
    public let event: SessionEvent
    /// When it happened, in milliseconds since 1970; nil when that is now.
    public var time: Int64?
    /// When a message arrived, by the monotonic clock, for measuring; nil when nothing is measured.
    public var since: NIODeadline?

    /// What a client of the protocol says of its message; nil for every other event.
    public var label: MessageLabel? {
        if case .message(_, _, let label) = event { label } else { nil }
    }

    /// The sequences of all messages of the event.
    public var sequences: ClosedRange<UInt64> {
        if case .batch(let messages) = event { return sequence...(sequence + UInt64(max(messages.count, 1)) - 1) }
        return sequence...sequence
    }
}
