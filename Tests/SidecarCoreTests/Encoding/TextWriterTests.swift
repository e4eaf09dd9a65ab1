import NIOCore
import Testing

@testable import SidecarCore

@Suite("The writer")
struct TextWriterTests {
    @Test("What is written stands behind what was there, in order")
    func order() {
        var buffer = ByteBuffer(string: "head ")
        buffer.writeText(measure: 64) { writer in
            writer.write("a: ")
            writer.write(string: "ä")
            writer.write(UInt64.max)
            writer.write(0)
            writer.write(byteCount: 2) { $0.copyBytes(from: [0x21, 0x3F]) }
        }
        #expect(String(buffer: buffer) == "head a: ä184467440737095516150!?")
    }

    @Test("A piece that does not fit is left out whole, and nothing is written beyond the measure")
    func tooLong() {
        var buffer = ByteBufferAllocator().buffer(capacity: 4)
        buffer.writeText(measure: 4) { writer in
            writer.write("abc")
            // More than any rounding up of the memory leaves.
            writer.write(string: String(repeating: "x", count: 1000))
            writer.write(byteCount: 1000) { _ in Issue.record("there is no room for it") }
        }
        #expect(String(buffer: buffer) == "abc")
    }

    @Test("A field line is its name, a colon and its value, whatever the bytes are")
    func fields() {
        var buffer = ByteBuffer()
        buffer.writeField("X-Empty", "")
        buffer.writeField("X-Name", "wert ü")
        let name: [UInt8] = Array("x-raw".utf8)
        let value: [UInt8] = [0xFF, 0x00, 0x80]
        name.withUnsafeBytes { name in value.withUnsafeBytes { buffer.writeField(name, $0) } }
        var expected = Array("X-Empty: \r\nX-Name: wert ü\r\nx-raw: ".utf8) + value
        expected += Array("\r\n".utf8)
        #expect(Array(buffer.readableBytesView) == expected)
    }
}
