/// Reading of header field values (RFC 9110 §5.6), in one pass and without backtracking.
enum FieldSyntax {
    /// The elements of a comma-separated list over several fields; empty ones are left out (§5.6.1.2).
    static func elements(of values: [String]) -> [Substring.UTF8View] {
        values.flatMap { value in
            value[...].utf8.split(separator: UInt8(ascii: ","))
                .map(Self.trimmed)
                .filter { !$0.isEmpty }
        }
    }

    /// True when a list over several fields has `token`, which is given in lower case, in any case of letters.
    static func list(_ values: [String], contains token: StaticString) -> Bool {
        values.contains { value in
            var rest = value[...].utf8
            while let comma = rest.firstIndex(of: UInt8(ascii: ",")) {
                if Self.isToken(rest[..<comma], token) { return true }
                rest = rest[rest.index(after: comma)...]
            }
            return Self.isToken(rest, token)
        }
    }

    private static func isToken(_ element: Substring.UTF8View, _ token: StaticString) -> Bool {
        let element = trimmed(element)
        return token.withUTF8Buffer { expected in
            element.count == expected.count && zip(element, expected).allSatisfy { Self.lowercased($0) == $1 }
        }
    }

    /// Without the spaces and tabs at both ends.
    static func trimmed(_ text: Substring.UTF8View) -> Substring.UTF8View {
        var text = text.drop(while: Self.isBlank)
        while let last = text.last, Self.isBlank(last) {
            text.removeLast()
        }
        return text
    }

    /// True for one or more token characters (§5.6.2).
    static func isToken(_ text: Substring.UTF8View) -> Bool {
        !text.isEmpty && text.allSatisfy(Self.isTokenCharacter)
    }

    /// True for a character that a token may have (§5.6.2).
    static func isTokenCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"),
            UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
            true
        default: false
        }
    }

    /// True for a space or a tab.
    static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t")
    }

    private static func lowercased(_ byte: UInt8) -> UInt8 {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
    }
}
