/// Why a message was refused: the status to answer with and one sentence that says why.
///
/// The sentence never repeats bytes of the message, so it can go into an answer or a log line as it is.
public struct HTTPParseError: Error, Equatable, Sendable {
    /// The status of the answer: 400, 414, 431, 501 or 505 for a request, always 502 for a reply.
    public let status: Int

    /// One plain sentence for the peer or the log.
    public let sentence: String

    /// Makes an error; the readers throw only those listed below.
    public init(status: Int, sentence: String) {
        self.status = status
        self.sentence = sentence
    }

    /// The same fault seen in a reply: the app is then a bad gateway's upstream.
    var inReply: HTTPParseError { HTTPParseError(status: 502, sentence: sentence) }

    private static func bad(_ sentence: String) -> HTTPParseError { HTTPParseError(status: 400, sentence: sentence) }
    private static func reply(_ sentence: String) -> HTTPParseError { HTTPParseError(status: 502, sentence: sentence) }
}

// Lines and fields, in requests and replies alike.
extension HTTPParseError {
    /// A line feed without a carriage return before it (RFC 9112 §2.2 lets a server be lenient here; we are not).
    public static let bareLineFeed = bad("A line ends with a bare line feed.")
    /// The head or the trailer section passes `HTTPLimits.maxHeadBytes`.
    public static let headTooLarge = HTTPParseError(status: 431, sentence: "The header section is too large.")
    /// More fields than `HTTPLimits.maxHeaders`.
    public static let tooManyHeaders = HTTPParseError(status: 431, sentence: "There are too many header fields.")
    /// A line that begins with white space (RFC 9112 §5.2).
    public static let foldedHeader = bad("A header line begins with white space.")
    /// A line without a colon, or with other bytes than a token before it (RFC 9112 §5.1).
    public static let invalidHeaderName = bad("A header line has no valid field name.")
    /// White space between name and colon (RFC 9112 §5.1).
    public static let spaceBeforeColon = bad("A header line has white space before the colon.")
    /// A control character, a bare CR or NUL in a value (RFC 9110 §5.5).
    public static let invalidHeaderValue = bad("A header value contains a control character.")
}

// Framing.
extension HTTPParseError {
    /// More than one Content-Length field, equal or not.
    public static let repeatedContentLength = bad("There is more than one Content-Length.")
    /// A Content-Length that is not just digits.
    public static let invalidContentLength = bad("The Content-Length is not a number.")
    /// A Content-Length beyond what 63 bits hold.
    public static let contentTooLarge = HTTPParseError(status: 400, sentence: "The Content-Length is too large.")
    /// Both framing fields, the classic way to smuggle a request (RFC 9112 §6.1).
    public static let conflictingFraming = bad("There is a Content-Length together with a Transfer-Encoding.")
    /// Transfer-Encoding in an HTTP/1.0 message (RFC 9112 §6.1).
    public static let transferEncodingInHTTP10 = bad("HTTP/1.0 knows no Transfer-Encoding.")
    /// A Transfer-Encoding that does not end with exactly one `chunked`.
    public static let invalidTransferEncoding = bad("The Transfer-Encoding is not chunked.")
    /// A coding besides `chunked` (RFC 9112 §6.1).
    public static let unknownTransferCoding = HTTPParseError(
        status: 501,
        sentence: "The Transfer-Encoding has a coding other than chunked."
    )
    /// No digit, a stray byte or more than 15 digits where a chunk size is due.
    public static let invalidChunkSize = bad("A chunk has no valid size.")
    /// A chunk extension that is no `;name=value`, or more extension bytes than allowed.
    public static let invalidChunkExtension = bad("A chunk extension is malformed or too long.")
    /// A trailer whose name an app could take for a field that only a head may have.
    public static let imitatingTrailer = bad("The name of a trailer imitates a reserved header.")
    /// Chunk data that is not followed by CRLF.
    public static let invalidChunkEnd = bad("A chunk does not end where its size says.")
}

// Requests alone.
extension HTTPParseError {
    /// Not `METHOD SP TARGET SP VERSION`.
    public static let invalidRequestLine = bad("The request line is malformed.")
    /// A method that is no token.
    public static let invalidMethod = bad("The request method is malformed.")
    /// A method longer than any that is registered (RFC 9112 §3).
    public static let methodTooLong = HTTPParseError(status: 501, sentence: "The request method is not known.")
    /// A target with white space, a control character, `#` or a byte above 0x7E, or of no known form.
    public static let invalidTarget = bad("The request target is malformed.")
    /// The request line alone passes `HTTPLimits.maxHeadBytes`.
    public static let targetTooLong = HTTPParseError(status: 414, sentence: "The request target is too long.")
    /// A version other than HTTP/1.0 and HTTP/1.1.
    public static let unsupportedVersion = HTTPParseError(
        status: 505,
        sentence: "Only HTTP/1.0 and HTTP/1.1 are supported."
    )
    /// No Host in HTTP/1.1 (RFC 9112 §3.2).
    public static let missingHost = bad("The Host header is missing.")
    /// More than one Host field.
    public static let repeatedHost = bad("There is more than one Host header.")
    /// A Host that is no `host[:port]`.
    public static let invalidHost = bad("The Host header is malformed.")
    /// More empty lines before the request line than are skipped, or a lone CR there.
    public static let strayBytesBeforeRequest = bad("There are stray bytes before the request line.")
}

// Replies alone.
extension HTTPParseError {
    /// Not `HTTP/1.x SP 3DIGIT [SP reason]`, or a status outside 100…599.
    public static let invalidStatusLine = reply("The status line is malformed.")
    /// A version other than HTTP/1.0 and HTTP/1.1.
    public static let unsupportedReplyVersion = reply("The reply is neither HTTP/1.0 nor HTTP/1.1.")
    /// A 101 although no upgrade was asked for.
    public static let unexpectedUpgrade = reply("The reply switches protocols, which was not asked for.")
    /// More 1xx replies before the final one than allowed.
    public static let tooManyInformational = reply("There are too many informational replies.")
    /// Bytes while no request waits for a reply.
    public static let unsolicitedReply = reply("There are bytes that belong to no request.")
    /// The end of the connection inside a reply.
    public static let truncatedReply = reply("The connection ended inside the reply.")
}
