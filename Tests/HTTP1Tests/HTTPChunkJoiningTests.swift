import NIOCore
import Testing

@testable import HTTP1

@Suite("Small chunks that came together")
struct HTTPChunkJoiningTests {
    private static let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

    /// The parts of a body whose bytes arrive in these pieces, and what was wrong with it.
    private func parts(_ pieces: [String]) -> (body: [String], isWhole: Bool, error: HTTPParseError?) {
        var reader = HTTPRequestReader(limits: HTTPLimits(maxHeadBytes: 1000, maxHeaders: 10))
        var body: [String] = []
        var isWhole = false
        do throws(HTTPParseError) {
            for piece in [Self.head] + pieces {
                var bytes = ByteBuffer(string: piece)
                reader.append(&bytes)
                while !isWhole, let part = try reader.next() {
                    switch part {
                    case .head: break
                    case .body(let bytes): body.append(String(buffer: bytes))
                    case .end: isWhole = true
                    }
                }
            }
        } catch {
            return (body, isWhole, error)
        }
        return (body, isWhole, nil)
    }

    private func chunks(_ texts: [String]) -> String {
        texts.map { "\(String($0.utf8.count, radix: 16))\r\n\($0)\r\n" }.joined()
    }

    @Test("are one part", arguments: [1, 2, 15, 16, 17, 100, 1000])
    func joined(size: Int) {
        let texts = (0..<20).map { String(repeating: String($0 % 10), count: size) }
        let result = parts([chunks(texts) + "0\r\n\r\n"])
        #expect(result.body == [texts.joined()])
        #expect(result.isWhole)
    }

    @Test("and what comes later is not waited for")
    func unjoined() {
        let result = parts([chunks(["a", "b", "c"]), chunks(["d", "e", "f"]), "0\r\n\r\n"])
        #expect(result.body == ["abc", "def"])
        #expect(result.isWhole)
    }

    @Test("wherever the bytes are cut, the body is the same")
    func everyCut() {
        let texts = ["a", "bcd", String(repeating: "e", count: 20), "f", "g"]
        let bytes = chunks(texts) + "1;x=y\r\nh\r\n00A\r\n0123456789\r\n0\r\nX: y\r\n\r\n"
        for cut in 0...bytes.utf8.count {
            let first = String(bytes.utf8.prefix(cut)) ?? ""
            let rest = String(bytes.utf8.dropFirst(cut)) ?? ""
            let result = parts([first, rest])
            #expect(result.body.joined() == texts.joined() + "h0123456789", "cut at \(cut)")
            #expect(result.body.count <= 4, "cut at \(cut)")
            #expect(result.isWhole)
        }
    }

    @Test("stop at a large one, which is not copied")
    func large() {
        let large = String(repeating: "x", count: 16 << 10)
        let result = parts([chunks(["a", "b", large, "c", "d", "e"]) + "0\r\n\r\n"])
        #expect(result.body == ["ab", large, "cde"])
    }

    @Test(
        "before a fault are handed out, then the fault is told",
        arguments: [
            ("x\r\n", HTTPParseError.invalidChunkSize), ("1\r\nabc", .invalidChunkEnd), ("1\nx", .invalidChunkSize),
            ("1\r\nx\rx", .invalidChunkEnd), ("1;=\r\nx\r\n", .invalidChunkExtension),
        ]
    )
    func fault(bad: String, error: HTTPParseError) {
        let result = parts([chunks(["a", "b", "c", "d"]) + bad])
        #expect(result.body.joined().hasPrefix("abcd"))
        #expect(result.error == error)
        #expect(!result.isWhole)
    }

    @Test("earn the extensions that others have, and no more")
    func extensions() {
        let extended = "1;" + String(repeating: "e", count: 100) + "\r\nx\r\n"
        let many = String(repeating: extended, count: 10_000)
        #expect(parts([many]).error == .invalidChunkExtension)
        let tiny = chunks([String](repeating: "123456789012345", count: 10))
        #expect(parts([String(repeating: extended + tiny, count: 500) + "0\r\n\r\n"]).isWhole)
    }
}
