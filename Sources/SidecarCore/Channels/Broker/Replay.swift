/// What a returning event stream has not received.
public struct Replay: Sendable, Equatable {
    /// A message with its position.
    public struct Message: Sendable, Equatable {
        /// Its position.
        public let mark: StreamMark
        /// The message.
        public let message: StoredMessage

        /// A message at a position.
        public init(mark: StreamMark, message: StoredMessage) {
            self.mark = mark
            self.message = message
        }
    }

    /// The messages in their order.
    public var messages: [Message]
    /// Whether all that was published since is among them.
    public var isComplete: Bool
    /// The cursor up to which this replay covers everything.
    public var upTo: StreamCursor

    /// A replay.
    public init(messages: [Message], isComplete: Bool, upTo: StreamCursor) {
        self.messages = messages
        self.isComplete = isComplete
        self.upTo = upTo
    }
}
