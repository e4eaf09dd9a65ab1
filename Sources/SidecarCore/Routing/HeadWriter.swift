import NIOCore

extension ByteBuffer {
    /// Appends `name: value CRLF`; the value must have been checked or encoded before.
    mutating func writeField(_ name: StaticString, _ value: String) {
        writeText(measure: name.utf8CodeUnitCount + value.utf8.count + 4) { writer in
            writer.write(name)
            writer.write(": ")
            writer.write(string: value)
            writer.write("\r\n")
        }
    }

    /// The same for a name that is no literal; with a label, so that literals are not taken for one.
    mutating func writeField(named name: String, _ value: String) {
        writeText(measure: name.utf8.count + value.utf8.count + 4) { writer in
            writer.write(string: name)
            writer.write(": ")
            writer.write(string: value)
            writer.write("\r\n")
        }
    }

    /// Appends a field line from bytes that the parser has accepted.
    mutating func writeField(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        writeText(measure: name.count + value.count + 4) { writer in
            writer.write(name)
            writer.write(": ")
            writer.write(value)
            writer.write("\r\n")
        }
    }

    /// Appends a decimal number without making a string.
    mutating func writeDecimal(_ value: UInt64) {
        writeText(measure: 20) { $0.write(value) }
    }
}
