/// The request line as ranges into the head (RFC 9112 §3).
struct HTTPRequestLine: HTTPStartLine {
    static var tooLong: HTTPParseError { .targetTooLong }

    let method: Range<Int>
    let target: Range<Int>
    let targetForm: HTTPTargetForm
    let minorVersion: Int

    /// Reads `METHOD SP TARGET SP VERSION` with exactly one space between the parts.
    init(_ line: Range<Int>, in bytes: Span<UInt8>) throws(HTTPParseError) {
        var index = line.lowerBound
        while index < line.upperBound, HTTPField.isTokenByte(bytes[index]) { index &+= 1 }
        guard index > line.lowerBound, index < line.upperBound, bytes[index] == UInt8(ascii: " ") else {
            throw .invalidMethod
        }
        method = line.lowerBound..<index
        guard method.count <= HTTPLimits.maxMethodBytes else { throw .methodTooLong }

        let targetStart = index &+ 1
        index = targetStart
        while index < line.upperBound, Self.isTargetByte(bytes[index]) { index &+= 1 }
        // All that may stand behind the target is one space and eight bytes of version.
        guard index < line.upperBound else { throw .invalidRequestLine }
        guard index > targetStart, bytes[index] == UInt8(ascii: " ") else { throw .invalidTarget }
        target = targetStart..<index
        minorVersion = try Self.minorVersion((index &+ 1)..<line.upperBound, in: bytes)
        targetForm = try Self.form(of: target, method: method, in: bytes)
    }

    /// Visible ASCII but `#`: a fragment is never sent, so whoever sends one means to confuse.
    @inline(__always)
    private static func isTargetByte(_ byte: UInt8) -> Bool {
        byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "#")
    }

    private static func minorVersion(_ range: Range<Int>, in bytes: Span<UInt8>) throws(HTTPParseError) -> Int {
        guard let version = HTTPVersion(range, in: bytes) else { throw .invalidRequestLine }
        guard let minor = version.minorOfHTTP1 else { throw .unsupportedVersion }
        return minor
    }

    private static func form(
        of target: Range<Int>,
        method: Range<Int>,
        in bytes: Span<UInt8>
    ) throws(HTTPParseError) -> HTTPTargetForm {
        let first = bytes[target.lowerBound]
        // Methods are case-sensitive: `connect` is some other method, which may not have this form.
        let isConnect = bytes.equalsExactly(method, "CONNECT")
        if isConnect {
            guard HTTPHost.isValid(bytes, target) else { throw .invalidTarget }
            return .authority
        }
        if first == UInt8(ascii: "/") { return .origin }
        if first == UInt8(ascii: "*"), target.count == 1, bytes.equalsExactly(method, "OPTIONS") { return .asterisk }
        guard let authority = HTTPAbsoluteTarget.authority(of: target, in: bytes),
            HTTPHost.isValid(bytes, authority)
        else { throw .invalidTarget }
        return .absolute
    }
}

/// `HTTP/` DIGIT `.` DIGIT (RFC 9112 §2.3); the name's case matters.
struct HTTPVersion {
    let major: UInt8
    let minor: UInt8

    /// Fails on anything else than exactly such eight bytes.
    @inline(__always)
    init?(_ range: Range<Int>, in bytes: Span<UInt8>) {
        let start = range.lowerBound
        guard range.count == 8, bytes[start] == UInt8(ascii: "H"), bytes[start &+ 1] == UInt8(ascii: "T"),
            bytes[start &+ 2] == UInt8(ascii: "T"), bytes[start &+ 3] == UInt8(ascii: "P"),
            bytes[start &+ 4] == UInt8(ascii: "/"), HTTPField.isDigit(bytes[start &+ 5]),
            bytes[start &+ 6] == UInt8(ascii: "."), HTTPField.isDigit(bytes[start &+ 7])
        else { return nil }
        major = bytes[start &+ 5] &- UInt8(ascii: "0")
        minor = bytes[start &+ 7] &- UInt8(ascii: "0")
    }

    /// 0 or 1, or nil for a version that we don't speak.
    var minorOfHTTP1: Int? { major == 1 && minor <= 1 ? Int(minor) : nil }
}

/// Finds the parts of `scheme://authority/path?query` (RFC 9112 §3.2.2).
enum HTTPAbsoluteTarget {
    /// The authority, or nil when this is no absolute target.
    static func authority(of target: Range<Int>, in bytes: Span<UInt8>) -> Range<Int>? {
        var index = target.lowerBound
        guard index < target.upperBound, HTTPField.isLetter(bytes[index]) else { return nil }
        while index < target.upperBound, isSchemeByte(bytes[index]) { index += 1 }
        guard target.upperBound - index > 3, bytes[index] == UInt8(ascii: ":"),
            bytes[index + 1] == UInt8(ascii: "/"), bytes[index + 2] == UInt8(ascii: "/")
        else { return nil }
        let start = index + 3
        index = start
        while index < target.upperBound, bytes[index] != UInt8(ascii: "/"), bytes[index] != UInt8(ascii: "?") {
            index += 1
        }
        return start..<index
    }

    private static func isSchemeByte(_ byte: UInt8) -> Bool {
        HTTPField.isLetter(byte) || HTTPField.isDigit(byte) || byte == UInt8(ascii: "+")
            || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".")
    }
}

extension Span where Element == UInt8 {
    /// Says whether the range holds exactly this text, case included.
    func equalsExactly(_ range: Range<Int>, _ text: StaticString) -> Bool {
        text.withUTF8Buffer { wanted in
            guard range.count == wanted.count else { return false }
            for offset in 0..<wanted.count where self[range.lowerBound &+ offset] != wanted[offset] { return false }
            return true
        }
    }
}
