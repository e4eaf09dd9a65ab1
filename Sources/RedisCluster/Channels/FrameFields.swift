import NIOCore

/// Texts in frames: two bytes of length, and the text.
extension ByteBuffer {
    /// Writes a text, which is checked to be far shorter than the most.
    mutating func writeField(_ text: String) {
        writeInteger(UInt16(clamping: text.utf8.count))
        writeBytes(text.utf8.prefix(Int(UInt16.max)))
    }

    mutating func readField() -> String? {
        guard let length = readInteger(as: UInt16.self), let view = readSlice(length: Int(length)) else { return nil }
        return String(validating: view.readableBytesView, as: UTF8.self)
    }

    /// Reads a line that says what kind of frame it is; false if it is another one.
    mutating func readLine(_ line: StaticString) -> Bool {
        let length = line.utf8CodeUnitCount
        guard startsWith(line) else { return false }
        moveReaderIndex(forwardBy: length)
        return true
    }

    func startsWith(_ line: StaticString) -> Bool {
        line.withUTF8Buffer { readableBytesView.starts(with: $0) }
    }
}
