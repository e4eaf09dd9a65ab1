/// The name of a channel: 1 to 200 bytes of printable ASCII without space, comma and quote.
public struct ChannelName: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The longest name, in bytes.
    public static let maxBytes = 200

    /// The name.
    public let text: String

    /// Checks a name; nil when it is none.
    public init?(_ text: some StringProtocol) {
        let bytes = text.utf8
        guard (1...Self.maxBytes).contains(bytes.count),
            bytes.allSatisfy({ 0x21...0x7E ~= $0 && $0 != UInt8(ascii: ",") && $0 != UInt8(ascii: "\"") })
        else { return nil }
        self.text = String(text)
    }

    /// Reads a list by comma, with spaces around its items; nil when an item is no name.
    static func list(_ text: String) -> [ChannelName]? {
        var names: [ChannelName] = []
        for item in text.split(separator: ",", omittingEmptySubsequences: false) {
            var item = item.drop { $0 == " " || $0 == "\t" }
            while item.last == " " || item.last == "\t" { item.removeLast() }
            if item.isEmpty { continue }
            guard let name = ChannelName(item) else { return nil }
            names.append(name)
        }
        return names
    }

    /// The name.
    public var description: String { text }

    /// By bytes.
    public static func < (one: ChannelName, other: ChannelName) -> Bool { one.text < other.text }
}
