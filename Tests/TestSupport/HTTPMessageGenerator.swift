/// Makes valid messages of all framings, and damages them.
package struct HTTPMessageGenerator {
    private var random: SeededRandom

    package init(seed: UInt64) { random = SeededRandom(seed: seed) }

    package mutating func request() -> [UInt8] {
        let method = pick(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "PROPFIND"])
        let target = pick(["/", "/a/b?c=d&e", "//x", "/%2f..%2f", "/|{}\\", "http://a.example/p?q", "/" + text(40)])
        let minor = pick([1, 1, 1, 0])
        var lines = ["\(method) \(target) HTTP/1.\(minor)", "Host: \(pick(["a", "a.example:8080", "[::1]"]))"]
        lines += fields()
        let (framing, body) = body(allowsChunked: minor == 1)
        lines += framing
        lines += pick([[], [], ["Connection: close"], ["Connection: keep-alive"]])
        return joined(lines) + body
    }

    package mutating func reply() -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<pick([0, 0, 1, 2]) { bytes += joined(["HTTP/1.1 \(pick([100, 102, 103])) Wait"] + fields()) }
        let minor = pick([1, 1, 1, 0])
        let status = pick([200, 200, 201, 204, 304, 302, 404, 500, 599])
        var lines = ["HTTP/1.\(minor) \(status)\(pick(["", " ", " OK", " Not Quite\tRight"]))"]
        lines += fields()
        guard status != 204, status != 304 else { return bytes + joined(lines) }
        if pick([true, false, false]) { return bytes + joined(lines) + Array(text(50).utf8) }
        let (framing, body) = body(allowsChunked: minor == 1)
        return bytes + joined(lines + (framing.isEmpty ? ["Content-Length: 0"] : framing)) + body
    }

    /// Damages one to three bytes.
    package mutating func damaged(_ message: [UInt8]) -> [UInt8] {
        var bytes = message
        let odd = Array("\r\n\0\t :;,/\"\u{7F}09afAzZ#".utf8) + [0x80, 0xFF, 0x0B]
        let phrases = [
            "\r\n", "\r\n\r\n", "\n", " ", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Host: b\r\n",
            "0\r\n\r\n", "HTTP/1.0", "chunked", "Connection: close\r\n", "1\r\nx\r\n",
        ]
        for _ in 0..<Int.random(in: 1...3, using: &random) where !bytes.isEmpty {
            let index = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0: bytes[index] = pick(odd)
            case 1: bytes.insert(pick(odd), at: index)
            case 2: bytes.remove(at: index)
            case 3: bytes.insert(contentsOf: Array(pick(phrases).utf8), at: index)
            case 4: bytes.removeSubrange(index..<min(bytes.count, index + Int.random(in: 1...8, using: &random)))
            default: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            }
        }
        return bytes
    }

    private mutating func body(allowsChunked: Bool) -> (fields: [String], bytes: [UInt8]) {
        switch Int.random(in: 0..<3, using: &random) {
        case 0: return ([], [])
        case 1 where allowsChunked:
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 0..<4, using: &random) {
                let data = text(30) + "."
                let size = String(data.utf8.count, radix: 16, uppercase: pick([true, false]))
                bytes += Array("\(pick(["", "00"]))\(size)\(pick(["", "", ";a=b", ";q=\"x\""]))\r\n\(data)\r\n".utf8)
            }
            let trailers = pick([[], [], ["X-Trailer: \(text(10))"]])
            return (
                ["Transfer-Encoding: \(pick(["chunked", "Chunked"]))"], bytes + Array("0\r\n".utf8) + joined(trailers)
            )
        default:
            let data = text(60)
            return (["Content-Length: \(data.utf8.count)"], Array(data.utf8))
        }
    }

    private mutating func fields() -> [String] {
        (0..<Int.random(in: 0..<5, using: &random)).map { _ in
            "\(pick(["X-A", "accept", "User-Agent", "x_y", "X!#$%&'*+-.^_`|~"])):\(pick(["", " ", "\t "]))"
                + "\(pick(["", "a", "a, b;q=1", "\"q\"", "é", "a b\tc", text(30)]))\(pick(["", "", " "]))"
        }
    }

    private mutating func text(_ limit: Int) -> String {
        let letters = Array("abcdefghijklmnopqrstuvwxyzABCDEF0123456789-._~")
        return String((0..<Int.random(in: 0..<limit, using: &random)).map { _ in pick(letters) })
    }

    private func joined(_ lines: [String]) -> [UInt8] {
        Array((lines.map { $0 + "\r\n" }.joined() + "\r\n").utf8)
    }

    private mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[Int.random(in: 0..<elements.count, using: &random)]
    }
}
