/// Reads the JSON (RFC 8259) that flat settings need: one object of strings, numbers, booleans and lists of them.
///
/// Numbers and booleans keep the text they were written with, since each setting reads its own text. Reading stops at
/// the first fault.
struct FlatJSON {
    private var rest: ArraySlice<UInt8>
    private var line = 1

    static func read(_ bytes: ArraySlice<UInt8>) -> FlatDocument {
        var reader = FlatJSON(rest: bytes)
        var document = FlatDocument()
        do throws(FlatDocument.Fault) {
            try reader.object(into: &document)
        } catch {
            document.faults.append(error)
        }
        return document
    }

    private init(rest: ArraySlice<UInt8>) {
        self.rest = rest
    }

    private mutating func object(into document: inout FlatDocument) throws(FlatDocument.Fault) {
        skipSpace()
        try expect("{", "the file does not begin with {")
        skipSpace()
        if !take("}") {
            repeat {
                skipSpace()
                let line = line
                guard rest.first == UInt8(ascii: "\"") else { throw fault("a key in quotes is missing") }
                let key = try string()
                skipSpace()
                try expect(":", "a colon after the key is missing")
                document.entries.append(.init(key: key, value: try value(), line: line))
                skipSpace()
            } while take(",")
            try expect("}", "a comma or the closing } is missing")
        }
        skipSpace()
        guard rest.isEmpty else { throw fault("something follows the closing }") }
    }

    private mutating func value() throws(FlatDocument.Fault) -> FlatDocument.Value {
        skipSpace()
        guard take("[") else { return .scalar(try scalar()) }
        var items: [String] = []
        skipSpace()
        if take("]") { return .list(items) }
        repeat {
            skipSpace()
            items.append(try scalar())
            skipSpace()
        } while take(",")
        try expect("]", "a comma or the closing ] is missing")
        return .list(items)
    }

    private mutating func scalar() throws(FlatDocument.Fault) -> String {
        switch rest.first {
        case UInt8(ascii: "\""):
            return try string()
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            throw fault("a value is nested; settings are one level deep")
        default:
            let text = rest.prefix { byte in
                HostSyntax.isDigit(byte) || HostSyntax.isLetter(byte) || "+-.".utf8.contains(byte)
            }
            rest = rest[text.endIndex...]
            switch String(decoding: text, as: UTF8.self) {
            case "true": return "true"
            case "false": return "false"
            case "null": throw fault("null is no value; leave the key out for the default")
            case let number where Self.isNumber(text): return number
            default: throw fault("a value is missing or not in quotes")
            }
        }
    }

    /// RFC 8259 §6.
    private static func isNumber(_ text: ArraySlice<UInt8>) -> Bool {
        var text = text
        func digits(_ text: inout ArraySlice<UInt8>) -> Int {
            let count = text.prefix(while: HostSyntax.isDigit).count
            text = text.dropFirst(count)
            return count
        }
        if text.first == UInt8(ascii: "-") { text.removeFirst() }
        let beginsWithZero = text.first == UInt8(ascii: "0")
        let whole = digits(&text)
        guard whole > 0, whole == 1 || !beginsWithZero else { return false }
        if text.first == UInt8(ascii: ".") {
            text.removeFirst()
            guard digits(&text) > 0 else { return false }
        }
        if let byte = text.first, byte | 0x20 == UInt8(ascii: "e") {
            text.removeFirst()
            if let sign = text.first, "+-".utf8.contains(sign) { text.removeFirst() }
            guard digits(&text) > 0 else { return false }
        }
        return text.isEmpty
    }

    /// RFC 8259 §7.
    private mutating func string() throws(FlatDocument.Fault) -> String {
        rest = rest.dropFirst()
        var bytes: [UInt8] = []
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\""):
                return String(decoding: bytes, as: UTF8.self)
            case UInt8(ascii: "\\"):
                bytes += String(try escape()).utf8
            case ..<0x20:
                throw fault("a string holds a line break or control character")
            default:
                bytes.append(byte)
            }
        }
        throw fault("a string has no closing quote")
    }

    private mutating func escape() throws(FlatDocument.Fault) -> Unicode.Scalar {
        switch rest.popFirst() {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "b"): return "\u{08}"
        case UInt8(ascii: "f"): return "\u{0C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            var code = try hexCode()
            if (0xD800...0xDBFF).contains(code), rest.starts(with: "\\u".utf8) {
                rest = rest.dropFirst(2)
                let low = try hexCode()
                guard (0xDC00...0xDFFF).contains(low) else { throw fault("a \\u escape is half a character") }
                code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw fault("a \\u escape is half a character") }
            return scalar
        default: throw fault("a string has an unknown escape")
        }
    }

    private mutating func hexCode() throws(FlatDocument.Fault) -> UInt32 {
        let digits = rest.prefix(4)
        rest = rest.dropFirst(4)
        guard digits.count == 4, digits.allSatisfy(HostSyntax.isHexDigit),
            let code = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
        else {
            throw fault("a \\u escape has no four hexadecimal digits")
        }
        return code
    }

    private mutating func skipSpace() {
        while let byte = rest.first, [0x20, 0x09, 0x0A, 0x0D].contains(byte) {
            if byte == 0x0A { line += 1 }
            rest = rest.dropFirst()
        }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard rest.first == UInt8(ascii: character) else { return false }
        rest = rest.dropFirst()
        return true
    }

    private mutating func expect(_ character: Unicode.Scalar, _ problem: String) throws(FlatDocument.Fault) {
        guard take(character) else { throw fault(problem) }
    }

    private func fault(_ problem: String) -> FlatDocument.Fault {
        FlatDocument.Fault(
            line: line,
            problem: problem,
            accepted: "a JSON object of strings, numbers, booleans and lists of them"
        )
    }
}
