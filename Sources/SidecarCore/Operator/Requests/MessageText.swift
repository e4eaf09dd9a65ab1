public import NIOCore

extension OperatorSyntax {
    /// The bytes that a text in Base64 stands for (RFC 4648 §4); nil unless it is padded and holds nothing but the
    /// alphabet.
    public static func bytes(ofBase64 text: String) -> ByteBuffer? { Base64.decoded(text) }

    /// Whether the readable bytes may be a text message: well-formed UTF-8 (RFC 3629).
    public static func isText(_ bytes: ByteBuffer) -> Bool { bytes.isValidUTF8 }
}
