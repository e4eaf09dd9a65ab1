public import NIOCore

/// Whether a message is text (valid UTF-8) or binary.
public enum MessageFormat: Sendable, Equatable {
    /// UTF-8 text.
    case text
    /// Any bytes.
    case binary
}

/// A data message that waits to be delivered.
public struct QueuedMessage: Sendable, Equatable {
    /// Text or binary.
    public let format: MessageFormat
    /// What the client sent.
    public let payload: ByteBuffer
    /// When it arrived, in milliseconds since 1970; nil when that is now.
    public let time: Int64?
    /// The same by the monotonic clock, for measuring; nil when nothing is measured.
    public let since: NIODeadline?

    /// A message that arrived at `time`.
    public init(format: MessageFormat, payload: ByteBuffer, time: Int64?, since: NIODeadline? = nil) {
        self.since = since
        self.format = format
        self.payload = payload
        self.time = time
    }

    /// What it counts for while it waits, in bytes.
    var bytes: Int { payload.readableBytes + SessionStateMachine.messageOverhead }
}

/// One event of a connection for the app, or several messages in one request.
public enum SessionEvent: Sendable, Equatable {
    /// The handshake asks to be accepted.
    case open
    /// A data message.
    case message(MessageFormat, ByteBuffer)
    /// Two or more data messages in one request (`WEBHOOK_BATCH`); their sequences are consecutive.
    case batch([QueuedMessage])
    /// Asks whether the client is still welcome (`REVALIDATE_INTERVAL`).
    case revalidate
    /// The connection has ended.
    case close(CloseReport)

    /// The kind of event.
    public var kind: Kind {
        switch self {
        case .open: .open
        case .message, .batch: .message
        case .revalidate: .revalidate
        case .close: .close
        }
    }

    /// The kinds of events; the raw value is the last part of `ce-type`.
    public enum Kind: String, Sendable {
        /// A handshake.
        case open
        /// One or more messages.
        case message
        /// A question about the client.
        case revalidate
        /// The end.
        case close

        /// The lane on which its call waits for a permit.
        public var lane: PermitLane {
            switch self {
            case .open: .handshakes
            case .message, .revalidate: .events
            case .close: .closes
            }
        }
    }
}

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

    /// The sequences of all messages of the event.
    public var sequences: ClosedRange<UInt64> {
        if case .batch(let messages) = event { return sequence...(sequence + UInt64(max(messages.count, 1)) - 1) }
        return sequence...sequence
    }
}
