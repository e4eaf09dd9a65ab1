import FoundationEssentials
import NIOCore

/// Base64 with the standard alphabet (RFC 4648 §4).
enum Base64 {
    /// The decoded bytes; nil unless the text is padded and holds nothing but the alphabet.
    ///
    /// Unused bits of the last digit may have any value.
    static func decoded(_ text: String) -> ByteBuffer? {
        // Foundation accepts some texts with too much padding, or with a digit after it.
        let padding = text.utf8.drop { $0 != UInt8(ascii: "=") }
        guard text.utf8.count % 4 == 0, padding.count <= 2, padding.allSatisfy({ $0 == UInt8(ascii: "=") }) else {
            return nil
        }
        return Data(base64Encoded: text).map { ByteBuffer(bytes: $0) }
    }

    /// Writes the readable bytes in Base64, with padding.
    static func write(_ bytes: ByteBuffer, into buffer: inout ByteBuffer) {
        buffer.writeString(Data(bytes.readableBytesView).base64EncodedString())
    }
}
