import NIOCore

/// Writes short pieces of text into memory that was measured for all of them.
///
/// One such pass is much cheaper than as many calls on a buffer, each of which checks that the buffer is unique and
/// large enough. Text that does not fit is left out, so the measure has to be right.
struct TextWriter {
    let memory: UnsafeMutableRawBufferPointer
    var count = 0

    fileprivate init(_ memory: UnsafeMutableRawBufferPointer) {
        self.memory = memory
    }

    @inline(__always)
    mutating func write(_ text: StaticString) {
        write(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    mutating func write(string text: String) {
        var text = text
        text.withUTF8 { write(UnsafeRawBufferPointer($0)) }
    }

    @inline(__always)
    mutating func write(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count <= memory.count - count, let start = memory.baseAddress, let from = bytes.baseAddress else {
            return
        }
        (start + count).copyMemory(from: from, byteCount: bytes.count)
        count += bytes.count
    }

    mutating func write(_ bytes: ByteBuffer) {
        bytes.withUnsafeReadableBytes { write($0) }
    }

    /// A number in decimal, at most 20 digits.
    mutating func write(_ value: UInt64) {
        withUnsafeTemporaryAllocation(byteCount: 20, alignment: 1) { digits in
            var start = 20
            var rest = value
            repeat {
                start -= 1
                digits[start] = UInt8(truncatingIfNeeded: 48 + rest % 10)
                rest /= 10
            } while rest > 0
            write(UnsafeRawBufferPointer(rebasing: digits[start...]))
        }
    }

    /// Lets `body` fill exactly so many bytes, if there is room for them.
    @inline(__always)
    mutating func write(byteCount: Int, _ body: (UnsafeMutableRawBufferPointer) -> Void) {
        guard byteCount <= memory.count - count else { return }
        body(UnsafeMutableRawBufferPointer(rebasing: memory[count..<count + byteCount]))
        count += byteCount
    }
}

extension ByteBuffer {
    /// Appends what `body` writes, at most `measure` bytes.
    mutating func writeText(measure: Int, _ body: (inout TextWriter) -> Void) {
        writeWithUnsafeMutableBytes(minimumWritableBytes: measure) { memory in
            var writer = TextWriter(memory)
            body(&writer)
            return writer.count
        }
    }
}
