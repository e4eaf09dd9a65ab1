/// The status line as numbers and a range into the head (RFC 9112 §4).
struct HTTPStatusLine: HTTPStartLine {
    static var tooLong: HTTPParseError { .headTooLarge }

    let minorVersion: Int
    let status: Int
    let reason: Range<Int>

    /// Reads `VERSION SP 3DIGIT [SP reason]`; the second space may be missing when there is no reason.
    init(_ line: Range<Int>, in bytes: Span<UInt8>) throws(HTTPParseError) {
        let start = line.lowerBound
        guard line.count >= 12, let version = HTTPVersion(start..<(start &+ 8), in: bytes),
            bytes[start &+ 8] == UInt8(ascii: " ")
        else { throw .invalidStatusLine }
        guard let minor = version.minorOfHTTP1 else { throw .unsupportedReplyVersion }
        minorVersion = minor

        var number = 0
        for index in (start &+ 9)..<(start &+ 12) {
            guard HTTPField.isDigit(bytes[index]) else { throw .invalidStatusLine }
            number = number &* 10 &+ Int(bytes[index] &- UInt8(ascii: "0"))
        }
        guard (100...599).contains(number) else { throw .invalidStatusLine }
        status = number

        guard line.count > 12 else {
            reason = line.upperBound..<line.upperBound
            return
        }
        reason = (start &+ 13)..<line.upperBound
        guard bytes[start &+ 12] == UInt8(ascii: " "), bytes.isFieldValue(reason) else { throw .invalidStatusLine }
    }
}
