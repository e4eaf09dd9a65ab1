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

    /// The same for a name that is not a literal; the label keeps literals on the overload above.
    mutating func writeField(named name: String, _ value: String) {
        writeText(measure: name.utf8.count + value.utf8.count + 4) { writer in
            writer.write(string: name)
            writer.write(": ")
            writer.write(string: value)
            writer.write("\r\n")
        }
    }

    /// Appends a field line whose bytes the parser has accepted.
    mutating func writeField(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        writeText(measure: name.count + value.count + 4) { writer in
            writer.write(name)
            writer.write(": ")
            writer.write(value)
            writer.write("\r\n")
        }
    }

    /// Appends a decimal number without allocating a string.
    mutating func writeDecimal(_ value: UInt64) {
        writeText(measure: 20) { $0.write(value) }
    }
}
