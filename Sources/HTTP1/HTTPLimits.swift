/// What one HTTP/1.1 message may cost before it is refused.
///
/// The limits bite as bytes arrive: a message that passes one of them is refused at the first byte
/// beyond it, not when it is complete.
public struct HTTPLimits: Equatable, Sendable {
    /// Most bytes of a message head, its start line and the blank line at its end included; the trailers of a
    /// chunked body have the same cap of their own.
    public var maxHeadBytes: Int

    /// Most header fields of a head; the trailers of a chunked body have the same cap of their own.
    public var maxHeaders: Int

    /// Sets both limits; values below 1 refuse every message.
    public init(maxHeadBytes: Int = 32 * 1024, maxHeaders: Int = 100) {
        self.maxHeadBytes = maxHeadBytes
        self.maxHeaders = maxHeaders
    }

    /// Most bytes of the extensions of one chunk-size line.
    static let maxChunkExtensionBytes = 256

    /// Most bytes by which the chunk extensions of one body may outweigh its data.
    static let maxChunkExtensionExcess = 16 * 1024

    /// Most hexadecimal digits of a chunk size; 15 of them always fit an `Int`.
    static let maxChunkSizeDigits = 15

    /// Most bytes of a request method; the longest registered one (UPDATEREDIRECTREF) has 17.
    static let maxMethodBytes = 32

    /// Most empty lines skipped before a request line (RFC 9112 §2.2 asks for at least one).
    static let maxLeadingBlankLines = 2
}
