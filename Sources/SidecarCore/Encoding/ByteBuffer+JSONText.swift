public import NIOCore

extension ByteBuffer {
    /// Writes a JSON string (RFC 8259 §7) with its quotes; `text` has to be valid UTF-8.
    mutating func writeJSONString(_ text: UnsafeRawBufferPointer, _ escapes: JSONEscapes = []) {
        writeInteger(UInt8(ascii: "\""))
        writeEscaped(text, escapes)
        writeInteger(UInt8(ascii: "\""))
    }

    /// Writes a JSON string with its quotes.
    mutating func writeJSONString(_ text: String, _ escapes: JSONEscapes = []) {
        var text = text
        text.withUTF8 { writeJSONString(UnsafeRawBufferPointer($0), escapes) }
    }

    /// Writes a JSON string with its quotes from bytes that are valid UTF-8.
    mutating func writeJSONString(_ text: ByteBuffer) {
        text.withUnsafeReadableBytes { writeJSONString($0) }
    }

    /// Writes what stands between the quotes of a JSON string.
    public mutating func writeEscaped(_ text: Substring, _ escapes: JSONEscapes) {
        var text = text
        text.withUTF8 { writeEscaped(UnsafeRawBufferPointer($0), escapes) }
    }

    private mutating func writeEscaped(_ text: UnsafeRawBufferPointer, _ escapes: JSONEscapes) {
        // Nearly always there is nothing to escape; otherwise this gives the exact size.
        var measure = text.count
        escapes.forEach(in: text) { range, escape in measure += escape.byteCount - range.count }
        guard measure > text.count else {
            writeBytes(text)
            return
        }
        writeText(measure: measure) { writer in
            var plainFrom = 0
            escapes.forEach(in: text) { range, escape in
                writer.write(UnsafeRawBufferPointer(rebasing: text[plainFrom..<range.lowerBound]))
                escape.write(with: &writer)
                plainFrom = range.upperBound
            }
            writer.write(UnsafeRawBufferPointer(rebasing: text[plainFrom...]))
        }
    }
}
