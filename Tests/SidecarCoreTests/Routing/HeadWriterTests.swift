import HTTP1
import NIOCore
import Testing

@testable import SidecarCore

@Suite("Head writers")
struct HeadWriterTests {
    @Test("Decimal numbers of every length are written", arguments: 0...19)
    func decimals(zeros: Int) {
        var power: UInt64 = 1
        for _ in 0..<zeros { power *= 10 }
        for value in [power - 1, power, power + 1, .max / power] {
            var buffer = ByteBuffer()
            buffer.writeDecimal(value)
            #expect(String(buffer: buffer) == "\(value)")
        }
    }

    @Test("Attributes are percent-encoded as the CloudEvents HTTP binding says, byte by byte")
    func percentEncoding() {
        for byte in UInt8(0)..<0x80 {
            var buffer = ByteBuffer()
            buffer.writePercentEncoded(String(Unicode.Scalar(byte)))
            let isPlain = byte > 0x20 && byte < 0x7F && byte != 0x22 && byte != 0x25
            let hex = String(byte, radix: 16, uppercase: true)
            let expected = isPlain ? String(Unicode.Scalar(byte)) : "%" + (byte < 16 ? "0" : "") + hex
            #expect(String(buffer: buffer) == expected, "\(byte)")
        }
        var buffer = ByteBuffer()
        buffer.writePercentEncoded("Euro € 😀\r\nce-userid: 1\u{0}")
        #expect(String(buffer: buffer) == "Euro%20%E2%82%AC%20%F0%9F%98%80%0D%0Ace-userid:%201%00")
    }

    @Test("Names are compared as ASCII without case, and marks are not letters")
    func nameEquality() {
        func equal(_ left: String, _ right: String) -> Bool {
            Array(left.utf8).withUnsafeBytes { HTTPField.equals($0, right) }
        }
        #expect(equal("Cookie", "cOOKIE") && equal("", "") && equal("x-1_~", "X-1_~"))
        for (left, right) in [("x^", "x~"), ("a", ""), ("", "a"), ("ab", "a"), ("a@", "a`"), ("a\r", "a-"), ("é", "É")]
        {
            #expect(!equal(left, right), "\(left) \(right)")
        }
    }
}
