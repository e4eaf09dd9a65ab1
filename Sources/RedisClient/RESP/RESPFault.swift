/// Why bytes from the server are no RESP3, or more than the limits allow.
public enum RESPFault: Error, Sendable, Hashable {
    /// A value begins with a byte that names no type.
    case unknownType(UInt8)
    /// A value whose length is only known at its end (`$?`, `*?`); no server sends one.
    case streamed
    /// A line feed or a carriage return that does not end a line.
    case badLine
    /// A line that is longer than any that a server sends.
    case lineTooLong
    /// A number that is none, or does not fit into 64 bits.
    case badNumber
    /// A length that is no number or less than 0.
    case badLength
    /// A boolean that is neither `t` nor `f`, or a null with something in it.
    case badConstant
    /// A string that is not followed by a line end where its length says.
    case badEnd
    /// A verbatim string without its format.
    case badVerbatim
    /// A push inside another value.
    case nestedPush
    /// More aggregates inside each other than ``RESPLimits/maxDepth``.
    case tooDeep
    /// More elements than ``RESPLimits/maxElements``.
    case tooManyElements
    /// More bytes than ``RESPLimits/maxBytes``.
    case tooLarge

    /// One plain sentence for the log; it repeats nothing of the reply but the byte of an unknown type.
    public var sentence: String {
        switch self {
        case .unknownType(let byte):
            "The server sent something else than RESP3 (a value begins with byte \(byte)); is it Redis, and is TLS wanted?"
        case .streamed: "The server sent a value without a length."
        case .badLine: "The server sent a line that does not end with CR LF."
        case .lineTooLong: "The server sent a line that is too long."
        case .badNumber: "The server sent a malformed number."
        case .badLength: "The server sent a malformed length."
        case .badConstant: "The server sent a malformed boolean or null."
        case .badEnd: "The server sent a string that does not end where its length says."
        case .badVerbatim: "The server sent a verbatim string without a format."
        case .nestedPush: "The server sent a push message inside a reply."
        case .tooDeep: "The server sent a reply that is nested too deeply."
        case .tooManyElements: "The server sent a reply with too many elements."
        case .tooLarge: "The server sent a reply that is too large."
        }
    }
}
