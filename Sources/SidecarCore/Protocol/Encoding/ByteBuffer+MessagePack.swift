import NIOCore

/// Writes MessagePack (<https://github.com/msgpack/msgpack/blob/master/spec.md>), each value in its shortest form.
extension ByteBuffer {
    mutating func writeMessagePack(_ text: String) {
        var text = text
        text.withUTF8 { writeMessagePack(text: UnsafeRawBufferPointer($0)) }
    }

    /// - Parameter text: Valid UTF-8.
    mutating func writeMessagePack(text: UnsafeRawBufferPointer) {
        switch text.count {
        case ..<32: writeInteger(0xA0 | UInt8(text.count))
        case ..<0x100: writeMultipleIntegers(0xD9 as UInt8, UInt8(text.count))
        case ..<0x1_0000: writeMultipleIntegers(0xDA as UInt8, UInt16(text.count))
        default: writeMultipleIntegers(0xDB as UInt8, UInt32(clamping: text.count))
        }
        writeBytes(text)
    }

    mutating func writeMessagePack(bytes: ByteBuffer) {
        switch bytes.readableBytes {
        case ..<0x100: writeMultipleIntegers(0xC4 as UInt8, UInt8(bytes.readableBytes))
        case ..<0x1_0000: writeMultipleIntegers(0xC5 as UInt8, UInt16(bytes.readableBytes))
        default: writeMultipleIntegers(0xC6 as UInt8, UInt32(clamping: bytes.readableBytes))
        }
        writeImmutableBuffer(bytes)
    }

    mutating func writeMessagePack(_ number: UInt64) {
        switch number {
        case ..<0x80: writeInteger(UInt8(number))
        case ..<0x100: writeMultipleIntegers(0xCC as UInt8, UInt8(number))
        case ..<0x1_0000: writeMultipleIntegers(0xCD as UInt8, UInt16(number))
        case ..<0x1_0000_0000: writeMultipleIntegers(0xCE as UInt8, UInt32(number))
        default: writeMultipleIntegers(0xCF as UInt8, number)
        }
    }

    mutating func writeMessagePack(_ number: Int64) {
        switch number {
        case 0...: writeMessagePack(UInt64(number))
        case -32..<0: writeInteger(Int8(number))
        case Int64(Int8.min)..<0: writeMultipleIntegers(0xD0 as UInt8, Int8(number))
        case Int64(Int16.min)..<0: writeMultipleIntegers(0xD1 as UInt8, Int16(number))
        case Int64(Int32.min)..<0: writeMultipleIntegers(0xD2 as UInt8, Int32(number))
        default: writeMultipleIntegers(0xD3 as UInt8, number)
        }
    }

    mutating func writeMessagePack(_ number: Double) {
        writeMultipleIntegers(0xCB as UInt8, number.bitPattern)
    }

    mutating func writeMessagePack(_ flag: Bool) { writeInteger(flag ? 0xC3 : 0xC2 as UInt8) }

    mutating func writeMessagePackNil() { writeInteger(0xC0 as UInt8) }

    /// The head of a map with so many members.
    mutating func writeMessagePackMap(count: Int) {
        switch count {
        case ..<16: writeInteger(0x80 | UInt8(max(count, 0)))
        case ..<0x1_0000: writeMultipleIntegers(0xDE as UInt8, UInt16(count))
        default: writeMultipleIntegers(0xDF as UInt8, UInt32(clamping: count))
        }
    }

    /// The head of an array with so many elements.
    mutating func writeMessagePackArray(count: Int) {
        switch count {
        case ..<16: writeInteger(0x90 | UInt8(max(count, 0)))
        case ..<0x1_0000: writeMultipleIntegers(0xDC as UInt8, UInt16(count))
        default: writeMultipleIntegers(0xDD as UInt8, UInt32(clamping: count))
        }
    }
}
