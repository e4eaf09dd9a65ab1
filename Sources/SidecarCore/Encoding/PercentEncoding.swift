import HTTP1
import NIOCore

/// Decodes percent-encoded text (RFC 3986 §2.1) of paths, queries and CloudEvents HTTP headers.
///
/// What is not a valid escape stays as it is, and so does `+`.
enum PercentEncoding {
    /// The decoded text; bytes that are not UTF-8 become U+FFFD.
    static func decoded(_ bytes: some Sequence<UInt8>) -> String {
        String(decoding: Self.bytes(bytes), as: UTF8.self)
    }

    /// The decoded bytes.
    static func bytes(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        var plain = Array(bytes)
        guard var count = plain.firstIndex(of: UInt8(ascii: "%")) else { return plain }
        // In place, since the text never gets longer.
        plain.withUnsafeMutableBufferPointer { plain in
            var index = count
            while index < plain.count {
                if plain[index] == UInt8(ascii: "%"), index + 2 < plain.count,
                    let high = HTTPField.hexValue(plain[index + 1]), let low = HTTPField.hexValue(plain[index + 2])
                {
                    plain[count] = UInt8(truncatingIfNeeded: high << 4 | low)
                    index += 3
                } else {
                    plain[count] = plain[index]
                    index += 1
                }
                count += 1
            }
        }
        plain.removeLast(plain.count - count)
        return plain
    }
}

extension TextWriter {
    /// Percent-encodes text, see ``ByteBuffer/writePercentEncoded(_:)``; needs up to three bytes for each byte of the
    /// text.
    mutating func write(percentEncoding text: String) {
        let hex: StaticString = "0123456789ABCDEF"
        var text = text
        text.withUTF8 { bytes in
            guard 3 * bytes.count <= memory.count - count else { return }
            for byte in bytes {
                if byte > 0x20, byte < 0x7F, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "%") {
                    memory[count] = byte
                    count += 1
                } else {
                    memory[count] = UInt8(ascii: "%")
                    memory[count + 1] = hex.utf8Start[Int(byte >> 4)]
                    memory[count + 2] = hex.utf8Start[Int(byte & 15)]
                    count += 3
                }
            }
        }
    }
}

extension ByteBuffer {
    /// Appends text percent-encoded as the CloudEvents HTTP binding asks (§3.1.3.2): space, `"`, `%` and
    /// everything outside U+0021–7E.
    mutating func writePercentEncoded(_ text: String) {
        writeText(measure: 3 * text.utf8.count) { $0.write(percentEncoding: text) }
    }
}
