/// Why an entry of a stream cannot be published.
public enum IngestFault: Error, Sendable, Equatable {
    /// The field `channel` is missing.
    case noChannel
    /// The channel is no valid name.
    case badChannel
    /// Neither `text` nor `base64` is there.
    case noMessage
    /// Both `text` and `base64` are there.
    case twoMessages
    /// The text is not UTF-8.
    case badText
    /// The Base64 is not valid.
    case badBase64
    /// The message has more bytes than a message may have.
    case tooLarge(bytes: Int, limit: Int)
    /// The entry has more bytes than its fields may need.
    case entryTooLarge(bytes: Int)
    /// The event type is not valid.
    case badEvent
    /// The id of a connection is not UTF-8.
    case badExclude
    /// The idempotency key is empty, too long or not UTF-8.
    case badID
    /// A field is there twice.
    case repeatedField(String)
    /// A field has no meaning.
    case unknownField(String)
    /// It has a name without a value.
    case notPairs

    /// One plain sentence or two: what is wrong, and how to mend it.
    public var sentence: String {
        switch self {
        case .noChannel: "There is no channel. Add a field channel with the channel's name."
        case .badChannel:
            "The channel is not a valid name. A name has 1 to 200 bytes of printable ASCII without space, comma and quote."
        case .noMessage: "There is no message. Add a field text, or base64 for bytes."
        case .twoMessages: "There are both text and base64. Leave one of them out."
        case .badText: "The text is not valid UTF-8. Send other bytes as base64."
        case .badBase64: "The base64 is not valid. It needs the standard alphabet of RFC 4648 and padding."
        case .tooLarge(let bytes, let limit):
            "The message has \(bytes) bytes, and MAX_REPLY_BYTES allows \(limit). Send less or raise it."
        case .entryTooLarge(let bytes):
            "The entry has about \(bytes) bytes, more than a message within MAX_REPLY_BYTES needs. Send less or raise it."
        case .badEvent: "The event is not a valid type. A type has 1 to 128 printable ASCII characters."
        case .badExclude: "The id of the excluded connection is not valid UTF-8."
        case .badID: "The id is not valid. It needs 1 to \(IngestEntry.maxIDBytes) bytes of UTF-8."
        case .repeatedField(let name): "The field \(name) is there twice. Leave one of them out."
        case .unknownField(let name):
            "The field \(name) is unknown. Known are channel, text, base64, event, exclude and id."
        case .notPairs: "A field has no value."
        }
    }
}
