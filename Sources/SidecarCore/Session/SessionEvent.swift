public import NIOCore

/// One event of a connection for the app, or several messages in one request.
public enum SessionEvent: Sendable, Equatable {
    /// The handshake asks to be accepted.
    case open
    /// A data message, with the label that a client of the protocol has given it.
    case message(MessageFormat, ByteBuffer, MessageLabel? = nil)
    /// Two or more data messages in one request (`WEBHOOK_BATCH`); their sequences are consecutive.
    case batch([QueuedMessage])
    /// Asks whether the client is still welcome (`REVALIDATE_INTERVAL`).
    case revalidate
    /// A client of the protocol has gone, and may return (`SESSION_EVENTS`).
    case detached
    /// It has returned.
    case resumed
    /// The connection has ended.
    case close(CloseReport)

    /// The kind of event.
    public var kind: Kind {
        switch self {
        case .open: .open
        case .message, .batch: .message
        case .revalidate: .revalidate
        case .detached: .detached
        case .resumed: .resumed
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
        /// The client has gone, and may return.
        case detached
        /// The client has returned.
        case resumed
        /// The end.
        case close

        /// The lane on which its call waits for a permit.
        public var lane: PermitLane {
            switch self {
            case .open: .handshakes
            case .message, .revalidate, .detached, .resumed: .events
            case .close: .closes
            }
        }
    }
}
