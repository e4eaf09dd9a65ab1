import HTTP1
import NIOCore
import TestSupport
import Testing

@testable import SidecarCore

@Suite("Head and chunk writers")
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

    @Test("A body in chunks is what the reader reads, for sizes around the digits of a chunk size")
    func chunks() {
        for size in [1, 9, 10, 15, 16, 17, 255, 256, 4095, 4096, 65_536] {
            var wire = ByteBuffer(string: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            let data = String(repeating: "x", count: size)
            for _ in 0..<2 {
                ChunkWriter.writeStart(byteCount: size, into: &wire)
                wire.writeString(data)
                ChunkWriter.writeEnd(into: &wire)
            }
            ChunkWriter.writeLast(trailers: nil, into: &wire)
            let lines = replyTranscript(Array(wire.readableBytesView), endOfInput: false).lines
            #expect(lines.suffix(2) == ["body \(data)\(data)", "end"])
        }
    }

    @Test("Trailers follow the last chunk, without those of one hop and those that frame or identify (abuse case 25)")
    func trailers() throws {
        var reader = HTTPReplyReader(limits: HTTPLimits())
        reader.expectReply(to: .other)
        var wire = ByteBuffer(
            string: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n"
                + "Connection: x\r\nCe-Userid: 1\r\nX-Forwarded-For: 1\r\nContent-Length: 5\r\nKeep-Alive: 1\r\n\r\n"
        )
        reader.append(&wire)
        var trailers: HTTPHeaders?
        while let part = try reader.next() {
            if case .end(let fields) = part { trailers = fields }
        }
        var last = ByteBuffer()
        ChunkWriter.writeLast(trailers: trailers, into: &last)
        #expect(String(buffer: last) == "0\r\nX-Sum: 1\r\n\r\n")
        last.clear()
        ChunkWriter.writeLast(trailers: HTTPHeaders(), into: &last)
        #expect(String(buffer: last) == "0\r\n\r\n")
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
