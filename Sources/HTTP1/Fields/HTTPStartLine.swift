/// The first line of a head: a request line or a status line.
protocol HTTPStartLine: Sendable {
    /// Reads the line, which comes without its CRLF.
    init(_ line: Range<Int>, in bytes: Span<UInt8>) throws(HTTPParseError)

    /// What a first line beyond the cap of the head is answered with.
    static var tooLong: HTTPParseError { get }
}
