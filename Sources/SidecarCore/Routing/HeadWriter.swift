import NIOCore

extension ByteBuffer {
    /// Appends `name: value CRLF`; the value must have been checked or encoded before.
    mutating func writeField(_ name: StaticString, _ value: String) {
        writeText(measure: name.utf8CodeUnitCount + value.utf8.count + 4) { pen in
            pen.write(name)
            pen.write(": ")
            pen.write(string: value)
            pen.write("\r\n")
        }
    }

    /// Appends a field line from bytes that the parser has accepted.
    mutating func writeField(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        writeText(measure: name.count + value.count + 4) { pen in
            pen.write(name)
            pen.write(": ")
            pen.write(value)
            pen.write("\r\n")
        }
    }

    /// Appends a decimal number without making a string.
    mutating func writeDecimal(_ value: UInt64) {
        writeText(measure: 20) { $0.write(value) }
    }

    /// Appends text percent-encoded as the CloudEvents HTTP binding asks (§3.1.3.2): space, `"`, `%` and
    /// everything outside U+0021–7E.
    mutating func writePercentEncoded(_ text: String) {
        writeText(measure: 3 * text.utf8.count) { $0.write(percentEncoding: text) }
    }
}
