/// What a client of the protocol says of a message besides its payload.
///
/// It is a reference, so that the messages of other clients, which have none, cost no more for it.
public final class MessageLabel: Sendable, Equatable {
    /// What the message is, in the client's words; the attribute `messagetype` of its event.
    public let type: String
    /// The client's id for the message, to which its answer refers; nil when the client wants no answer.
    public let id: String?

    /// A label; the arguments are not checked.
    public init(type: String, id: String?) {
        self.type = type
        self.id = id
    }

    /// By what they say.
    public static func == (one: MessageLabel, other: MessageLabel) -> Bool {
        one.type == other.type && one.id == other.id
    }
}
