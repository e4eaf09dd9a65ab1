/// A connection that an earlier process had not finished when it ended.
///
/// The outbox does not look into what was recorded. It may be in the form of the last version, whose files are taken over.
public struct RecoveredConnection: Sendable, Equatable {
    /// The id it was opened with.
    public var id: String
    /// What requests about it are made of, as it was recorded.
    public var context: [UInt8]
    /// Who the app said it is, as it was recorded last.
    public var identity: [UInt8]
    /// When it was opened, in milliseconds of Unix time.
    public var openedAt: Int64
    /// Messages accepted over its whole life, answered ones included.
    public var messagesIn: Int
    /// The highest sequence that the app has answered; 0 for none.
    public var lastAnswered: UInt64
    /// Messages accepted and not answered, by ascending sequence.
    public var messages: [RecoveredMessage]
    /// How it ended, or nil if the process ended before it.
    ///
    /// It stays after its event was answered, until the connection is finished: ``lastAnswered`` then has reached its
    /// sequence, and the app must not hear of it again.
    public var close: RecoveredClose?

    /// Makes a recovered connection.
    public init(
        id: String,
        context: [UInt8],
        identity: [UInt8],
        openedAt: Int64,
        messagesIn: Int,
        lastAnswered: UInt64,
        messages: [RecoveredMessage],
        close: RecoveredClose?
    ) {
        self.id = id
        self.context = context
        self.identity = identity
        self.openedAt = openedAt
        self.messagesIn = messagesIn
        self.lastAnswered = lastAnswered
        self.messages = messages
        self.close = close
    }
}

/// A message that was accepted and not answered.
public struct RecoveredMessage: Sendable, Equatable {
    /// Its sequence in the connection's order of events.
    public var sequence: UInt64
    /// What kind of data it is, as it was recorded.
    public var format: UInt8
    /// What belongs to it besides its payload, as it was recorded; empty for nothing.
    public var label: [UInt8]
    /// Its bytes.
    public var payload: [UInt8]
    /// When it was accepted, in milliseconds of Unix time.
    public var at: Int64

    /// Makes a recovered message.
    public init(sequence: UInt64, format: UInt8, label: [UInt8] = [], payload: [UInt8], at: Int64) {
        self.sequence = sequence
        self.format = format
        self.label = label
        self.payload = payload
        self.at = at
    }
}

/// The end of a connection, as its close event tells it.
public struct RecoveredClose: Sendable, Equatable {
    /// Its sequence in the connection's order of events.
    public var sequence: UInt64
    /// What the event says, as it was recorded.
    public var report: [UInt8]
    /// When the connection ended, in milliseconds of Unix time.
    public var at: Int64

    /// Makes a recovered close.
    public init(sequence: UInt64, report: [UInt8], at: Int64) {
        self.sequence = sequence
        self.report = report
        self.at = at
    }
}
