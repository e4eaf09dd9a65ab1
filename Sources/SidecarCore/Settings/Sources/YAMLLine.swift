import HTTP1

/// The rest of one line of a YAML file, read from left to right.
struct YAMLLine {
    private var rest: ArraySlice<UInt8>

    init(_ line: ArraySlice<UInt8>) {
        rest = line
    }

    /// Whether nothing or a comment is left. A `#` begins a comment only after space, which callers have to check.
    var isBlankOrComment: Bool {
        let first = rest.first { !Self.isSpace($0) }
        return first == nil || first == UInt8(ascii: "#")
    }

    var hasControlCharacter: Bool {
        rest.contains { ($0 < 0x20 && $0 != 0x09) || $0 == 0x7F }
    }

    var startsWithTab: Bool { rest.first == 0x09 }

    /// Skips spaces and returns how many there were.
    mutating func skipSpaces() -> Int {
        let count = rest.prefix { $0 == 0x20 }.count
        rest = rest.dropFirst(count)
        return count
    }

    /// Takes `marker` when space or the line's end follows it.
    mutating func takeMarker(_ marker: StaticString) -> Bool {
        let bytes = marker.withUTF8Buffer { Array($0) }
        let after = rest.dropFirst(bytes.count)
        guard rest.starts(with: bytes), after.first.map(Self.isSpace) ?? true else { return false }
        rest = after.drop(while: Self.isSpace)
        return true
    }

    /// Takes a key, its colon and the space after it.
    mutating func key() throws(YAMLProblem) -> String {
        let key: String
        if rest.first == UInt8(ascii: "\"") || rest.first == UInt8(ascii: "'") {
            key = try quoted()
        } else {
            let bytes = rest.prefix { byte in
                HTTPField.isDigit(byte) || HTTPField.isLetter(byte) || byte == 0x5F || byte == 0x2D || byte == 0x2E
            }
            rest = rest[bytes.endIndex...]
            key = String(decoding: bytes, as: UTF8.self)
        }
        rest = rest.drop(while: Self.isSpace)
        guard !key.isEmpty, rest.popFirst() == UInt8(ascii: ":") else { throw YAMLProblem("is not key: value") }
        guard rest.first.map(Self.isSpace) ?? true else { throw YAMLProblem("has no space after its colon") }
        rest = rest.drop(while: Self.isSpace)
        return key
    }

    /// Takes an opening bracket.
    mutating func takesBracket() -> Bool {
        guard rest.first == UInt8(ascii: "[") else { return false }
        rest = rest.dropFirst()
        return true
    }

    /// Takes the items and the closing bracket of a list.
    mutating func flowItems() throws(YAMLProblem) -> [String] {
        var items: [String] = []
        while true {
            rest = rest.drop(while: Self.isSpace)
            guard rest.first != UInt8(ascii: "]") else { break }
            guard !rest.isEmpty else { throw YAMLProblem("has a list that is not closed on its line") }
            items.append(try isQuoted ? quoted() : plain(inFlow: true))
            rest = rest.drop(while: Self.isSpace)
            guard rest.first == UInt8(ascii: ",") else { break }
            rest = rest.dropFirst()
        }
        guard rest.popFirst() == UInt8(ascii: "]") else {
            throw YAMLProblem("has a list that is not closed on its line")
        }
        return items
    }

    /// Takes one value.
    mutating func scalar() throws(YAMLProblem) -> String {
        try isQuoted ? quoted() : plain(inFlow: false)
    }

    /// Checks that nothing but a comment is left.
    func end() throws(YAMLProblem) {
        guard isBlankOrComment, rest.first.map(Self.isSpace) ?? true else {
            throw YAMLProblem("has something after its value; put values with special characters in quotes")
        }
    }

    private var isQuoted: Bool { rest.first == UInt8(ascii: "\"") || rest.first == UInt8(ascii: "'") }

    /// YAML 1.2 §7.3.3.
    private mutating func plain(inFlow: Bool) throws(YAMLProblem) -> String {
        guard let first = rest.first, !"[]{},#&*!|>%@`?".utf8.contains(first) else {
            throw YAMLProblem("has a value that begins with a special character; put it in quotes")
        }
        // After the last byte that is not a space: trailing spaces are not part of the value.
        var end = rest.startIndex
        scan: for index in rest.indices {
            let byte = rest[index]
            let next = rest[(index + 1)...].first
            switch byte {
            case UInt8(ascii: "#") where end < index:
                break scan
            case UInt8(ascii: ":") where next.map { Self.isSpace($0) || (inFlow && ",[]{}".utf8.contains($0)) } ?? true:
                throw YAMLProblem("has a colon in its value; put the value in quotes")
            case UInt8(ascii: "-") where index == rest.startIndex && (next.map(Self.isSpace) ?? true):
                throw YAMLProblem("has a list item where a value belongs")
            case UInt8(ascii: ",") where inFlow, UInt8(ascii: "]") where inFlow:
                break scan
            case UInt8(ascii: "["), UInt8(ascii: "{"), UInt8(ascii: "}"):
                if inFlow { throw YAMLProblem("has a bracket in a list's item; put the item in quotes") }
                end = index + 1
            default:
                if !Self.isSpace(byte) { end = index + 1 }
            }
        }
        let value = String(decoding: rest[..<end], as: UTF8.self)
        rest = rest[end...]
        guard !["", "~", "null", "Null", "NULL"].contains(value) else {
            throw YAMLProblem("has no value; leave the key out for the default")
        }
        return value
    }

    /// YAML 1.2 §7.3.1 and §7.3.2, on one line.
    private mutating func quoted() throws(YAMLProblem) -> String {
        let quote = rest.popFirst()
        var text: [UInt8] = []
        while let byte = rest.popFirst() {
            if byte == quote {
                guard quote == UInt8(ascii: "'"), rest.first == quote else {
                    return String(decoding: text, as: UTF8.self)
                }
                rest = rest.dropFirst()
                text.append(byte)
            } else if byte == UInt8(ascii: "\\"), quote == UInt8(ascii: "\"") {
                text += String(try escape()).utf8
            } else {
                text.append(byte)
            }
        }
        throw YAMLProblem("has a quote that is not closed on its line")
    }

    private mutating func escape() throws(YAMLProblem) -> Unicode.Scalar {
        switch rest.popFirst() {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "x"): return try code(digits: 2)
        case UInt8(ascii: "u"): return try code(digits: 4)
        case UInt8(ascii: "U"): return try code(digits: 8)
        default: throw YAMLProblem("has an escape that is not supported; use 'single quotes' for a plain backslash")
        }
    }

    private mutating func code(digits count: Int) throws(YAMLProblem) -> Unicode.Scalar {
        let digits = rest.prefix(count)
        rest = rest.dropFirst(count)
        guard digits.count == count, digits.allSatisfy({ HTTPField.hexValue($0) != nil }),
            let code = UInt32(String(decoding: digits, as: UTF8.self), radix: 16), let scalar = Unicode.Scalar(code)
        else {
            throw YAMLProblem("has an escape that is not a character")
        }
        return scalar
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
}
