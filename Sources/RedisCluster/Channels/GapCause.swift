/// Why messages of a channel are missing.
enum GapCause: String, Sendable, CaseIterable {
    /// The connection to the engine was lost, and the history does not reach back so far.
    case connectionLost = "connection_lost"
    /// A message did not come, and the history does not have it.
    case messageMissing = "message_missing"
    /// The engine has lost messages: it failed over, or was emptied or restored.
    case engineLostMessages = "engine_lost_messages"
    /// The engine was away when the subscription began.
    case engineAway = "engine_away"
    /// More messages came during a question to the engine than are held back.
    case tooManyHeld = "too_many_held"
}
