import HTTP1

/// Reads JSON (RFC 8259) piece by piece: the caller says what it expects next.
///
/// It never recurses, so deep nesting costs no stack, and it creates only the values that the caller asks for.
/// (`JSONDecoder` of FoundationEssentials traps on some malformed inputs, which an app must not be able to cause.)
struct JSONReader {
    /// What is wrong, worded as the end of a sentence.
    struct Fault: Error, Equatable {
        let sentence: String

        static let malformed = Fault(sentence: "the JSON is malformed.")
        static let tooDeep = Fault(sentence: "the JSON is nested too deep.")
        static let longName = Fault(sentence: "the name of a member is too long.")
        static let wrongType = Fault(sentence: "a value is missing or is of the wrong type.")
    }

    private let bytes: UnsafeRawBufferPointer
    private var position = 0
    private var counted = (upTo: 0, line: 1)

    /// Starts at the first byte, behind a byte order mark if there is one.
    ///
    /// - Parameter bytes: Valid UTF-8, which must outlive the reader.
    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    }

    /// True when only white space is left.
    mutating func isAtEnd() -> Bool {
        peek() == nil
    }

    /// Takes this mark (`[`, `,` …) if it comes next, after any white space.
    mutating func take(_ mark: Unicode.Scalar) -> Bool {
        guard peek() == UInt8(ascii: mark) else { return false }
        position += 1
        return true
    }

    /// Takes this mark, which must come next.
    mutating func expect(_ mark: Unicode.Scalar) throws(Fault) {
        guard take(mark) else { throw .malformed }
    }

    /// Takes a member's name and the colon behind it.
    mutating func name() throws(Fault) -> String {
        guard peek() == UInt8(ascii: "\"") else { throw .malformed }
        let name = try string()
        try expect(":")
        return name
    }

    /// Takes a string.
    mutating func string() throws(Fault) -> String {
        guard peek() == UInt8(ascii: "\"") else { throw .wrongType }
        position += 1
        var start = position
        var unescaped: [UInt8] = []
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                let last = UnsafeRawBufferPointer(rebasing: bytes[start..<position])
                position += 1
                if unescaped.isEmpty { return String(decoding: last, as: UTF8.self) }
                unescaped += last
                return String(decoding: unescaped, as: UTF8.self)
            case UInt8(ascii: "\\"):
                unescaped += bytes[start..<position]
                position += 1
                unescaped += UTF8.encode(try escape()) ?? UTF8.encodedReplacementCharacter
                start = position
            case ..<0x20: throw .malformed
            default: position += 1
            }
        }
        throw .malformed
    }

    /// Takes a whole number, which must fit an `Int`.
    mutating func integer() throws(Fault) -> Int {
        guard let first = peek(), first == UInt8(ascii: "-") || HTTPField.isDigit(first) else { throw .wrongType }
        let start = position
        position += 1
        while position < bytes.count, Self.isNumberByte(bytes[position]) { position += 1 }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        let digits = first == UInt8(ascii: "-") ? text.dropFirst() : text[...]
        guard digits.utf8.allSatisfy(HTTPField.isDigit), digits == "0" || !digits.hasPrefix("0") else {
            throw Fault(sentence: "the number is not an integer.")
        }
        guard let number = Int(text) else { throw Fault(sentence: "the number is out of range.") }
        return number
    }

    /// Takes a number (RFC 8259 §6) if one comes next, as it is written.
    mutating func numberText() throws(Fault) -> String? {
        guard let first = peek(), first == UInt8(ascii: "-") || HTTPField.isDigit(first) else { return nil }
        let start = position
        while position < bytes.count, Self.isNumberByte(bytes[position]) { position += 1 }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        var rest = text.utf8[...]
        func digits() -> Int {
            let count = rest.prefix(while: HTTPField.isDigit).count
            rest = rest.dropFirst(count)
            return count
        }
        if rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
        let startsWithZero = rest.first == UInt8(ascii: "0")
        let whole = digits()
        guard whole > 0, whole == 1 || !startsWithZero else { throw .malformed }
        if rest.first == UInt8(ascii: ".") {
            rest = rest.dropFirst()
            guard digits() > 0 else { throw .malformed }
        }
        if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
            rest = rest.dropFirst()
            if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
            guard digits() > 0 else { throw .malformed }
        }
        guard rest.isEmpty else { throw .malformed }
        return text
    }

    /// Takes a number if one comes next, whose value must be finite.
    mutating func number() throws(Fault) -> JSONValue? {
        guard let text = try numberText() else { return nil }
        if let integer = Int64(text) { return .integer(integer) }
        guard let number = Double(text), number.isFinite else { throw .malformed }
        return .number(number)
    }

    /// Skips a value, and returns where it is.
    mutating func valueRange(maxDepth: Int) throws(Fault) -> Range<Int> {
        _ = peek()
        let start = position
        try skipValue(maxDepth: maxDepth)
        return start..<position
    }

    /// Skips a value of any kind, which must be well-formed, without creating it.
    ///
    /// - Parameter maxDepth: How deep arrays and objects may lie in one another.
    mutating func skipValue(maxDepth: Int) throws(Fault) {
        var closers: [Unicode.Scalar] = []
        repeat {
            if take("{") {
                closers.append("}")
                guard closers.count <= maxDepth else { throw .tooDeep }
                if !take("}") {
                    try skipName()
                    continue
                }
                closers.removeLast()
            } else if take("[") {
                closers.append("]")
                guard closers.count <= maxDepth else { throw .tooDeep }
                if !take("]") { continue }
                closers.removeLast()
            } else if peek() == UInt8(ascii: "\"") {
                try skipString()
            } else if !takeWord("null"), !takeWord("true"), !takeWord("false") {
                guard try numberText() != nil else { throw .malformed }
            }
            // A value is complete; what follows belongs to the arrays and objects around it.
            while let closer = closers.last {
                if take(",") {
                    if closer == "}" { try skipName() }
                    break
                }
                try expect(closer)
                closers.removeLast()
            }
        } while !closers.isEmpty
    }

    private mutating func skipName() throws(Fault) {
        guard peek() == UInt8(ascii: "\"") else { throw .malformed }
        try skipString()
        try expect(":")
    }

    /// Skips a string. It may hold half a surrogate pair: that is well-formed JSON, and the string is not used.
    private mutating func skipString() throws(Fault) {
        position += 1
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                position += 1
                return
            case UInt8(ascii: "\\"):
                guard position + 1 < bytes.count else { throw .malformed }
                position += 2
                switch bytes[position - 1] {
                case UInt8(ascii: "u"): _ = try hexCode()
                case let byte: guard "\"\\/bfnrt".utf8.contains(byte) else { throw .malformed }
                }
            case ..<0x20: throw .malformed
            default: position += 1
            }
        }
        throw .malformed
    }

    /// The line of what comes next, counted from 1.
    mutating func line() -> Int {
        _ = peek()
        counted.line += bytes[counted.upTo..<position].count { $0 == UInt8(ascii: "\n") }
        counted.upTo = position
        return counted.line
    }

    /// Takes a word such as `true` if it comes next.
    mutating func takeWord(_ word: StaticString) -> Bool {
        let count = word.utf8CodeUnitCount
        guard peek() != nil, bytes.count - position >= count,
            UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
                .elementsEqual(UnsafeBufferPointer(start: word.utf8Start, count: count))
        else { return false }
        position += count
        return true
    }

    private static func isNumberByte(_ byte: UInt8) -> Bool {
        HTTPField.isDigit(byte) || "+-.eE".utf8.contains(byte)
    }

    /// The next byte that is not white space.
    private mutating func peek() -> UInt8? {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return bytes[position]
            }
        }
        return nil
    }

    /// The scalar of an escape, behind its backslash; half a surrogate pair is not one.
    private mutating func escape() throws(Fault) -> Unicode.Scalar {
        guard position < bytes.count else { throw .malformed }
        position += 1
        switch bytes[position - 1] {
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
            if (0xD800...0xDBFF).contains(code), bytes[position...].starts(with: "\\u".utf8) {
                position += 2
                let low = try hexCode()
                guard (0xDC00...0xDFFF).contains(low) else { throw .malformed }
                code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw .malformed }
            return scalar
        default: throw .malformed
        }
    }

    private mutating func hexCode() throws(Fault) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard position < bytes.count, let digit = HTTPField.hexValue(bytes[position]) else { throw .malformed }
            code = code << 4 | UInt32(digit)
            position += 1
        }
        return code
    }
}
