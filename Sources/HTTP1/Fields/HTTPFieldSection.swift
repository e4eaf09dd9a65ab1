internal import NIOCore

/// Reads the lines of a head or of trailers as they arrive, each byte searched once and each line read once.
///
/// Offsets count from the first byte of the section, which stays at the reader index of the caller's buffer until the
/// section is complete.
struct HTTPFieldSection: Sendable {
    /// The fields read so far.
    private(set) var fields: [HTTPFieldRange] = []

    /// Where the line starts that is being read; after the last line, the length of the section.
    private(set) var lineStart = 0

    /// No line feed stands before this offset and behind `lineStart`: a byte is never searched twice.
    private var searched = 0

    /// The next whole line without its CRLF, or nil when it has not arrived yet.
    ///
    /// Looks only at the first `cap` bytes, so that a section is refused at the first byte beyond them however it
    /// was cut into reads.
    @inline(__always)
    mutating func nextLine(in bytes: Span<UInt8>, cap: Int) throws(HTTPParseError) -> Range<Int>? {
        let end = min(bytes.count, cap)
        guard let lineFeed = bytes.firstLineFeed(from: searched, to: end) else {
            searched = max(searched, end)
            if bytes.count >= cap { throw .headTooLarge }
            return nil
        }
        guard lineFeed > lineStart, bytes[lineFeed &- 1] == UInt8(ascii: "\r") else { throw .bareLineFeed }
        let line = lineStart..<(lineFeed &- 1)
        lineStart = lineFeed &+ 1
        searched = lineStart
        return line
    }

    /// Reads one field line, which is not empty (RFC 9112 §5).
    @inline(__always)
    mutating func addField(
        _ line: Range<Int>,
        in bytes: Span<UInt8>,
        maxFields: Int
    ) throws(HTTPParseError) -> HTTPFieldRange {
        var colon = line.lowerBound
        while colon < line.upperBound, HTTPField.isTokenByte(bytes[colon]) { colon &+= 1 }
        guard colon < line.upperBound, colon > line.lowerBound, bytes[colon] == UInt8(ascii: ":") else {
            throw Self.fault(line, stoppedAt: colon, in: bytes)
        }
        let value = bytes.trimmed((colon &+ 1)..<line.upperBound)
        guard bytes.isFieldValue(value) else { throw .invalidHeaderValue }
        guard fields.count < maxFields else { throw .tooManyHeaders }
        if fields.isEmpty { fields.reserveCapacity(min(maxFields, 12)) }
        let field = HTTPFieldRange(name: line.lowerBound..<colon, value: value)
        fields.append(field)
        return field
    }

    /// Takes the complete section off the buffer and starts over for the next one.
    mutating func finish(_ buffer: inout ByteBuffer) -> HTTPHeaders {
        let bytes = buffer.readSlice(length: lineStart) ?? ByteBuffer()
        let headers = HTTPHeaders(bytes: bytes, fields: fields)
        self = HTTPFieldSection()
        return headers
    }

    /// Leaves out the fields for which `isUnwanted` says so.
    mutating func removeFields(where isUnwanted: (HTTPFieldRange) -> Bool) {
        fields.removeAll(where: isUnwanted)
    }

    private static func fault(_ line: Range<Int>, stoppedAt stop: Int, in bytes: Span<UInt8>) -> HTTPParseError {
        guard stop < line.upperBound, HTTPField.isSpace(bytes[stop]) else { return .invalidHeaderName }
        return stop == line.lowerBound ? .foldedHeader : .spaceBeforeColon
    }
}
