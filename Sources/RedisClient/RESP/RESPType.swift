/// The types of RESP3, by the byte that a value begins with.
enum RESPType: UInt8, Sendable {
    /// `+`
    case simple = 0x2B
    /// `-`
    case error = 0x2D
    /// `:`
    case integer = 0x3A
    /// `$`
    case bulk = 0x24
    /// `*`
    case array = 0x2A
    /// `_`
    case null = 0x5F
    /// `,`
    case double = 0x2C
    /// `#`
    case boolean = 0x23
    /// `!`
    case blobError = 0x21
    /// `=`
    case verbatim = 0x3D
    /// `(`
    case bigNumber = 0x28
    /// `%`
    case map = 0x25
    /// `~`
    case set = 0x7E
    /// `>`
    case push = 0x3E
    /// `|`
    case attribute = 0x7C

    /// Whether the line itself is the value, as a text.
    var isText: Bool {
        switch self {
        case .simple, .error, .bigNumber: true
        default: false
        }
    }

    /// How long the text of the line may be.
    var maxLine: Int { isText ? RESPLimits.maxTextLine : RESPLimits.maxNumberLine }

    /// How many values an entry of an aggregate consists of.
    var elementsPerEntry: Int {
        switch self {
        case .map, .attribute: 2
        default: 1
        }
    }
}
