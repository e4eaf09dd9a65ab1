import HTTP1

/// The name of a channel: 1 to 200 bytes of printable ASCII without space, comma and quote.
public struct ChannelName: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The longest name, in bytes.
    public static let maxBytes = 200

    /// The name.
    public let text: String

    /// Checks a name; nil when it is not valid.
    public init?(_ text: some StringProtocol) {
        let bytes = text.utf8
        guard (1...Self.maxBytes).contains(bytes.count),
            bytes.allSatisfy({ 0x21...0x7E ~= $0 && $0 != UInt8(ascii: ",") && $0 != UInt8(ascii: "\"") })
        else { return nil }
        self.text = String(text)
    }

    /// Reads a list by comma, with spaces around its items; nil when an item is no name.
    ///
    /// An item may be a quoted string (RFC 9651 §3.3.3), and should be when the name is built from input: a comma makes
    /// a quoted name invalid, while an unquoted one would be read as two names.
    static func list(_ text: String) -> [ChannelName]? {
        var names: [ChannelName] = []
        var rest = text.utf8[...]
        while true {
            rest = rest.drop(while: HTTPField.isSpace)
            if rest.first == UInt8(ascii: ",") {
                rest = rest.dropFirst()  // an empty item (RFC 9110 §5.6.1.2)
                continue
            }
            if rest.isEmpty { return names }
            guard let name = leading(&rest, until: ",") else { return nil }
            names.append(name)
            rest = rest.drop(while: HTTPField.isSpace)
            guard rest.isEmpty || rest.first == UInt8(ascii: ",") else { return nil }
        }
    }

    /// Takes the name at the start of a text, in quotes or not; nil when there is none.
    ///
    /// - Parameter stop: What ends a name without quotes, besides a space.
    static func leading(_ text: inout Substring.UTF8View, until stop: Character) -> ChannelName? {
        guard text.first == UInt8(ascii: "\"") else {
            let bare = text.prefix { !HTTPField.isSpace($0) && $0 != stop.asciiValue }
            text = text[bare.endIndex...]
            return ChannelName(Substring(bare))
        }
        text = text.dropFirst()
        var name: [UInt8] = []
        while let byte = text.popFirst() {
            switch byte {
            case UInt8(ascii: "\""): return ChannelName(String(decoding: name, as: UTF8.self))
            case UInt8(ascii: "\\"):
                guard let escaped = text.popFirst(), escaped == UInt8(ascii: "\"") || escaped == UInt8(ascii: "\\")
                else {
                    return nil
                }
                name.append(escaped)
            default: name.append(byte)
            }
        }
        return nil
    }

    /// The name.
    public var description: String { text }

    /// By bytes.
    public static func < (one: ChannelName, other: ChannelName) -> Bool { one.text < other.text }
}
