import HTTP1
import NIOCore
import TestSupport
import Testing

@Suite("HTTP/1.1: chunks written")
struct HTTPChunkWriterTests {
    @Test("A body in chunks is what the reader reads, for sizes around the digits of a chunk size")
    func chunks() {
        for size in [1, 9, 10, 15, 16, 17, 255, 256, 4095, 4096, 4097, 65_536] {
            var wire = ByteBuffer(string: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            let data = String(repeating: "x", count: size)
            for _ in 0..<2 {
                HTTPChunkWriter.write(ByteBuffer(string: data)) { bytes, rest in
                    wire.writeImmutableBuffer(bytes)
                    if let rest { wire.writeImmutableBuffer(rest) }
                }
            }
            HTTPChunkWriter.writeLast(trailers: nil, into: &wire)
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
        HTTPChunkWriter.writeLast(trailers: trailers, into: &last)
        #expect(String(buffer: last) == "0\r\nX-Sum: 1\r\n\r\n")
        last.clear()
        HTTPChunkWriter.writeLast(trailers: HTTPHeaders(), into: &last)
        #expect(String(buffer: last) == "0\r\n\r\n")
    }
}
