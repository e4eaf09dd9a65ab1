public import NIOCore

/// Compresses what one connection sends, as its handshake agreed (RFC 7692 §7.2.1).
///
/// Without context takeover it borrows from the event loop's ``DeflateCodecs`` and owns nothing; with it, it owns
/// 38,720 bytes from its first message on.
///
/// ```swift
/// if compressor.shouldCompress(byteCount: payload.readableBytes),
///     compressor.compress(payload, into: &scratch)
/// {
///     FrameEncoder.write(.text, payload: scratch, compressed: true, into: &frame)
/// } else {
///     FrameEncoder.write(.text, payload: payload, into: &frame)
/// }
/// ```
public struct MessageCompressor: ~Copyable {
    /// What ``init(deflate:codecs:minimumBytes:)`` takes unless told otherwise, in bytes.
    public static let defaultMinimumBytes = 256

    private let codecs: DeflateCodecs
    private let windowBits: Int
    private let minimumBytes: Int
    private let acceptsLonger: Bool
    private let keepsContext: Bool
    private var deflater: Deflater?

    /// - Parameters:
    ///   - deflate: what the handshake agreed.
    ///   - codecs: those of the connection's event loop.
    ///   - minimumBytes: shorter messages are not worth it; 0 compresses every message, even if it gets longer by it.
    public init(
        deflate: NegotiatedDeflate,
        codecs: DeflateCodecs,
        minimumBytes: Int = MessageCompressor.defaultMinimumBytes
    ) {
        self.codecs = codecs
        self.windowBits = deflate.serverMaxWindowBits ?? 15
        self.minimumBytes = max(minimumBytes, 1)
        self.acceptsLonger = minimumBytes <= 0
        self.keepsContext = !deflate.serverNoContextTakeover
    }

    /// The memory of zlib that this connection owns, in bytes; 0 without context takeover.
    public var codecBytes: Int { self.deflater == nil ? 0 : self.tuning.memoryBytes }

    /// True when messages don't lean on one another, so that the same bytes may go to other connections too.
    ///
    /// The other connections must allow a window as large as this one's.
    public var isStateless: Bool { !self.keepsContext }

    /// What ``compress(_:into:)`` uses of the window, in bits: two stateless compressors with the same write the same.
    public var window: Int { self.windowBits }

    /// True for a message that is long enough to gain by it.
    public func shouldCompress(byteCount: Int) -> Bool { byteCount >= self.minimumBytes }

    /// Writes the payload of one whole message, compressed, to the end of `output`; it belongs into a frame with RSV1.
    ///
    /// Messages must be sent in the order in which they are compressed.
    ///
    /// - Returns: false when compression does not make it shorter, though it should; then nothing is written, and the
    ///   message is to be sent as it is.
    public mutating func compress(_ payload: ByteBuffer, into output: inout ByteBuffer) -> Bool {
        guard self.keepsContext else {
            return self.codecs.compress(
                payload,
                windowBits: self.windowBits,
                acceptsLonger: self.acceptsLonger,
                into: &output
            )
        }
        guard var deflater = self.deflater.take() ?? Deflater(self.tuning) else { return false }
        let isWritten = deflater.compress(payload, acceptsLonger: self.acceptsLonger, into: &output)
        if !isWritten { deflater.reset() }
        self.deflater = consume deflater
        return isWritten
    }

    private var tuning: Deflater.Tuning { .owned.limited(to: self.windowBits) }
}
