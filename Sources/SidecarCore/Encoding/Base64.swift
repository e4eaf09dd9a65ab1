import FoundationEssentials
import NIOCore

/// Base64 with the standard alphabet (RFC 4648 §4).
enum Base64 {
    /// The bytes that the text stands for; nil unless it has its padding and nothing else beside the alphabet.
    ///
    /// The bits that the last digit has to spare may be anything.
    static func decoded(_ text: String) -> ByteBuffer? {
        // Foundation takes some texts with too much padding, or with a digit behind it.
        let padding = text.utf8.drop { $0 != UInt8(ascii: "=") }
        guard text.utf8.count % 4 == 0, padding.count <= 2, padding.allSatisfy({ $0 == UInt8(ascii: "=") }) else {
            return nil
        }
        return Data(base64Encoded: text).map { ByteBuffer(bytes: $0) }
    }

    /// Writes the text that stands for the readable bytes, with its padding.
    static func write(_ bytes: ByteBuffer, into buffer: inout ByteBuffer) {
        buffer.writeString(Data(bytes.readableBytesView).base64EncodedString())
    }
}
