import NIOCore
import Testing

@testable import SidecarCore

@Suite("Percent-encoding")
struct PercentEncodingTests {
    @Test(
        "Decoding stops at nothing that is cut or no hexadecimal number",
        arguments: [
            ("", ""), ("a", "a"), ("+", "+"), ("%41", "A"), ("%4", "%4"), ("%", "%"), ("%%", "%%"), ("%%41", "%A"),
            ("%4g", "%4g"), ("%g1%41", "%g1A"), ("%2541", "%41"), ("a%", "a%"), ("%c3%A9", "é"), ("%41%4", "A%4"),
            ("%+1", "%+1"), ("%-1", "%-1"), ("% 1", "% 1"), ("%0x", "%0x"), ("%é", "%é"), ("e\u{301}%41", "e\u{301}A"),
            ("%20a%20", " a "), ("%00%0d%0A", "\u{0}\r\n"), ("%25%34%31", "%41"), ("é%", "é%"),
        ]
    )
    func decodes(text: String, expected: String) {
        #expect(PercentEncoding.bytes(text.utf8) == Array(expected.utf8))
        #expect(PercentEncoding.bytes(Array(text.utf8)) == Array(expected.utf8))
        #expect(PercentEncoding.bytes(Array("--\(text)".utf8).dropFirst(2)) == Array(expected.utf8))
        #expect(PercentEncoding.decoded(text.utf8).utf8.elementsEqual(expected.utf8))
    }

    @Test("Bytes may be any; as text, what is no UTF-8 becomes U+FFFD")
    func noText() {
        #expect(PercentEncoding.bytes("%ff%C3".utf8) == [0xFF, 0xC3])
        #expect(PercentEncoding.decoded("%ffa%C3".utf8) == "\u{FFFD}a\u{FFFD}")
    }

    @Test("Every byte has its escape, in digits of either case")
    func allBytes() {
        for byte in UInt8.min...UInt8.max {
            let digits = (byte < 16 ? "0" : "") + String(byte, radix: 16)
            #expect(PercentEncoding.bytes("%\(digits)".utf8) == [byte])
            #expect(PercentEncoding.bytes("%\(digits.uppercased())".utf8) == [byte])
        }
    }

    @Test("Attributes are percent-encoded as the CloudEvents HTTP binding says, byte by byte")
    func encodes() {
        for byte in UInt8(0)..<0x80 {
            var buffer = ByteBuffer()
            buffer.writePercentEncoded(String(Unicode.Scalar(byte)))
            let isPlain = byte > 0x20 && byte < 0x7F && byte != 0x22 && byte != 0x25
            let hex = String(byte, radix: 16, uppercase: true)
            let expected = isPlain ? String(Unicode.Scalar(byte)) : "%" + (byte < 16 ? "0" : "") + hex
            #expect(String(buffer: buffer) == expected, "\(byte)")
        }
        var buffer = ByteBuffer()
        let text = "Euro € 😀\r\nce-userid: 1\u{0}"
        buffer.writePercentEncoded(text)
        #expect(String(buffer: buffer) == "Euro%20%E2%82%AC%20%F0%9F%98%80%0D%0Ace-userid:%201%00")
        #expect(PercentEncoding.decoded(buffer.readableBytesView) == text)
    }
}
