/// How this server wants to compress (RFC 7692 §7.1).
public struct DeflateSettings: Sendable, Equatable {
    /// True lets each message lean on the ones before, if the client can do so: smaller messages, but each connection
    /// then owns a compressor and a decompressor.
    ///
    /// Once both have been used they take 78,648 bytes: 38,720 and 39,928 (see ``clientWindowBits``).
    public var allowContextTakeover: Bool
    /// The base-2 logarithm of the window that a client with context takeover is asked to keep to, if it offers to.
    ///
    /// 9...15; a decompressor takes 7,160 bytes and the window. Browsers offer it.
    public var clientWindowBits: Int

    /// - Parameters:
    ///   - allowContextTakeover: off unless asked for, so that an idle connection owns no memory of zlib.
    ///   - clientWindowBits: moved into 9...15.
    public init(allowContextTakeover: Bool = false, clientWindowBits: Int = 15) {
        self.allowContextTakeover = allowContextTakeover
        self.clientWindowBits = min(max(clientWindowBits, 9), 15)
    }
}
