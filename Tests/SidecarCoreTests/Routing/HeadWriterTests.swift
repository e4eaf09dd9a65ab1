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

    @Test("Names are compared as ASCII without case, and marks are not letters")
    func nameEquality() {
        func equal(_ left: String, _ right: String) -> Bool {
            Array(left.utf8).withUnsafeBytes { HTTPField.equals($0, token: right) }
        }
        #expect(equal("Cookie", "cOOKIE") && equal("", "") && equal("x-1_~", "X-1_~"))
        for (left, right) in [("x^", "x~"), ("a", ""), ("", "a"), ("ab", "a"), ("a@", "a`"), ("a\r", "a-"), ("é", "É")]
        {
            #expect(!equal(left, right), "\(left) \(right)")
        }
    }
}
