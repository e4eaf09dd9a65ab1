import NIOCore

extension ByteBuffer {
    /// Writes a JSON string (RFC 8259 §7) with its quotes; `text` has to be valid UTF-8.
    mutating func writeJSONString(_ text: UnsafeRawBufferPointer) {
        let hex: StaticString = "0123456789abcdef"
        writeStaticString("\"")
        var plainFrom = 0
        for (index, byte) in text.enumerated() {
            guard byte < 0x20 || byte == 0x7F || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else {
                continue
            }
            writeBytes(UnsafeRawBufferPointer(rebasing: text[plainFrom..<index]))
            plainFrom = index + 1
            if byte < 0x20 || byte == 0x7F {
                writeStaticString("\\u00")
                writeInteger(hex.utf8Start[Int(byte >> 4)])
                writeInteger(hex.utf8Start[Int(byte & 15)])
            } else {
                writeMultipleIntegers(UInt8(ascii: "\\"), byte)
            }
        }
        writeBytes(UnsafeRawBufferPointer(rebasing: text[plainFrom...]))
        writeStaticString("\"")
    }

    /// Writes a JSON string with its quotes.
    mutating func writeJSONString(_ text: String) {
        var text = text
        text.withUTF8 { writeJSONString(UnsafeRawBufferPointer($0)) }
    }

    /// Writes a JSON string with its quotes from bytes that are valid UTF-8.
    mutating func writeJSONString(_ text: ByteBuffer) {
        text.withUnsafeReadableBytes { writeJSONString($0) }
    }
}
