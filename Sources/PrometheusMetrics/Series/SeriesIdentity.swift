/// A metric's name and its labels, written once in the form in which they are exposed.
struct SeriesIdentity: Sendable, Equatable {
    let name: String
    /// `code="1000",initiator="client"`: sorted by name, escaped, without braces.
    let labels: String

    init(name: String, dimensions: [(String, String)]) {
        self.name = name
        self.labels = Self.render(dimensions)
    }

    /// The start of a sample line up to its value: `name_suffix{labels,extra} `.
    func samplePrefix(suffix: String = "", extraLabel: String = "") -> String {
        let separator = self.labels.isEmpty || extraLabel.isEmpty ? "" : ","
        let all = self.labels + separator + extraLabel
        return all.isEmpty ? "\(self.name)\(suffix) " : "\(self.name)\(suffix){\(all)} "
    }

    /// Sorted, so that the same labels in another order are the same series; a repeated name keeps its first value.
    private static func render(_ dimensions: [(String, String)]) -> String {
        var seen: Set<String> = []
        let labels = dimensions.map { (Self.labelName($0.0), $0.1) }.filter { seen.insert($0.0).inserted }
        return labels.sorted { $0.0 < $1.0 }
            .map { "\($0.0)=\"\(Self.escaped($0.1, quotes: true))\"" }
            .joined(separator: ",")
    }

    /// A valid metric name: what is not a letter, digit or `_` becomes `_`.
    ///
    /// `:` is legal, but kept for recording rules, so it is replaced as well.
    static func metricName(_ name: String) -> String { Self.identifier(name) }

    /// A valid label name that doesn't collide with the one that histograms add themselves.
    private static func labelName(_ name: String) -> String {
        let identifier = Self.identifier(name)
        return identifier == "le" ? "le_" : identifier
    }

    private static func identifier(_ name: String) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(name.utf8.count + 1)
        for byte in name.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"):
                bytes.append(byte)
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                if bytes.isEmpty { bytes.append(UInt8(ascii: "_")) }
                bytes.append(byte)
            default:
                bytes.append(UInt8(ascii: "_"))
            }
        }
        return bytes.isEmpty ? "_" : String(decoding: bytes, as: UTF8.self)
    }

    /// Escapes backslash and line feed, and `"` where the text stands in quotes.
    ///
    /// It goes by bytes because Swift takes CR LF for one character, in which the line feed would be missed.
    static func escaped(_ text: String, quotes: Bool) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), UInt8(ascii: "\\")]
            case UInt8(ascii: "\n"): bytes += [UInt8(ascii: "\\"), UInt8(ascii: "n")]
            case UInt8(ascii: "\"") where quotes: bytes += [UInt8(ascii: "\\"), UInt8(ascii: "\"")]
            default: bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
