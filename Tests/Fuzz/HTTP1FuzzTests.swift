import FoundationEssentials
import HTTP1
import NIOCore
import SidecarCore
import Testing

/// Feeds damaged messages to both HTTP/1.1 readers. An input that ever broke one becomes a file in `Seeds`.
@Suite("HTTP/1.1 fuzzing")
struct HTTP1FuzzTests {
    @Test("Every seed and every damaged seed of a request is read alike in every cut, within the limits")
    func requests() throws {
        try fuzz("http-request", seed: 11) { bytes, cuts in RequestRun.read(bytes, cuts) }
    }

    @Test("Every seed and every damaged seed of a reply is read alike in every cut, within the limits")
    func replies() throws {
        try fuzz("http-reply", seed: 12) { bytes, cuts in
            // Replies to HEAD differ only in what follows the head: every few inputs are enough.
            let kind = bytes.count.isMultiple(of: 8) ? HTTPMethodKind.head : .other
            let transcript = ReplyRun.read(bytes, cuts, to: kind)
            #expect(ReplyRun.read(bytes, cuts, to: kind, takesWhole: true) == transcript)
            return transcript
        }
    }

    private func fuzz(
        _ folder: String,
        seed: UInt64,
        _ read: (_ bytes: [UInt8], _ cuts: Cuts) -> FuzzTranscript
    ) throws {
        let seeds = try Seeds.load(folder)
        #expect(seeds.count >= 15)
        for seed in seeds {
            let whole = read(seed, .whole)
            #expect(whole.withinLimits && whole == read(seed, .eachByte), "\(Seeds.literal(seed))")
        }
        var mutator = ByteMutator(seed: seed)
        for _ in 0..<Seeds.iterations {
            let input = mutator.mutated(seeds)
            let whole = read(input, .whole)
            let cut = read(input, mutator.cuts())
            // Comparing with a plain `if` keeps 20,000 iterations fast; only a failure is reported.
            if whole != cut || !whole.withinLimits || !cut.withinLimits {
                Issue.record("\(Seeds.literal(input))\nwhole: \(whole)\ncut: \(cut)")
                return
            }
        }
    }
}

/// Small enough that mutations reach them.
private let limits = HTTPLimits(maxHeadBytes: 1024, maxHeaders: 20)

/// How an input is cut into reads.
private enum Cuts {
    case whole
    case eachByte
    case at([Int])

    func pieces(of bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        switch self {
        case .whole: return [bytes[...]]
        case .eachByte: return bytes.indices.map { bytes[$0...$0] }
        case .at(let sizes):
            var pieces: [ArraySlice<UInt8>] = []
            var rest = bytes[...]
            for size in sizes {
                pieces.append(rest.prefix(size))
                rest = rest.dropFirst(size)
            }
            return pieces + [rest]
        }
    }
}

/// What a reader said: one hash per step would hide the reason of a failure, so the text is kept.
private struct FuzzTranscript: Equatable {
    private(set) var lines: [String] = []
    private(set) var withinLimits = true
    private var body: [UInt8] = []

    static func == (left: FuzzTranscript, right: FuzzTranscript) -> Bool { left.lines == right.lines }

    mutating func add(_ line: String, _ headers: HTTPHeaders?) {
        flush()
        lines.append(line)
        guard let headers else { return }
        var bytes = 0
        headers.forEach { name, value in
            bytes += name.count + value.count
            lines.append(Seeds.literal(Array(name)) + Seeds.literal(Array(value)))
            if !HTTPField.isToken(name) || !HTTPField.isValidFieldValue(value) { withinLimits = false }
        }
        if headers.count > limits.maxHeaders || bytes > limits.maxHeadBytes { withinLimits = false }
    }

    mutating func add(body bytes: ByteBuffer) {
        if bytes.readableBytes == 0 { withinLimits = false }
        body.append(contentsOf: bytes.readableBytesView)
    }

    mutating func check(buffered: Int, lastRead: Int) {
        if buffered > limits.maxHeadBytes + lastRead { withinLimits = false }
    }

    mutating func flush() {
        if !body.isEmpty { lines.append("body " + Seeds.literal(body)) }
        body = []
    }
}

private enum RequestRun {
    static func read(_ bytes: [UInt8], _ cuts: Cuts) -> FuzzTranscript {
        var reader = HTTPRequestReader(limits: limits)
        var transcript = FuzzTranscript()
        for piece in cuts.pieces(of: bytes) {
            var input = ByteBuffer(bytes: piece)
            reader.append(&input)
            do throws(HTTPParseError) {
                while let part = try reader.next() {
                    switch part {
                    case .head(let head):
                        let line = "\(head.method) \(head.target) \(head.targetForm) \(head.minorVersion)"
                        transcript.add(
                            line + " \(head.framing) \(head.keepAlive) \(head.expectsContinue)",
                            head.headers
                        )
                    case .body(let bytes): transcript.add(body: bytes)
                    case .end(let trailers): transcript.add("end", trailers)
                    }
                }
            } catch {
                transcript.add("\(error)", nil)
                return transcript
            }
            transcript.check(buffered: reader.bufferedBytes, lastRead: piece.count)
        }
        transcript.flush()
        return transcript
    }
}

private enum ReplyRun {
    static func read(
        _ bytes: [UInt8],
        _ cuts: Cuts,
        to kind: HTTPMethodKind,
        takesWhole: Bool = false
    ) -> FuzzTranscript {
        var reader = HTTPReplyReader(limits: limits)
        var transcript = FuzzTranscript()
        reader.expectReply(to: kind)
        do throws(HTTPParseError) {
            for piece in cuts.pieces(of: bytes) {
                var input = ByteBuffer(bytes: piece)
                reader.append(&input)
                while let part = try reader.next() {
                    add(part, to: &transcript)
                    guard takesWhole, case .head = part, let body = reader.takeWholeBody() else { continue }
                    if body.readableBytes > 0 { transcript.add(body: body) }
                    transcript.add("end", nil)
                }
                transcript.check(buffered: reader.bufferedBytes, lastRead: piece.count)
            }
            while let part = try reader.endOfInput() { add(part, to: &transcript) }
        } catch {
            transcript.add("\(error)", nil)
        }
        transcript.flush()
        return transcript
    }

    private static func add(_ part: HTTPReplyPart, to transcript: inout FuzzTranscript) {
        switch part {
        case .informational(let head): transcript.add("informational \(describe(head))", head.headers)
        case .head(let head): transcript.add("final \(describe(head))", head.headers)
        case .body(let bytes): transcript.add(body: bytes)
        case .end(let trailers): transcript.add("end", trailers)
        }
    }

    private static func describe(_ head: HTTPReplyHead) -> String {
        "\(head.status) \(head.reason) \(head.minorVersion) \(head.framing) \(head.keepAlive)"
    }
}

/// Where the inputs come from.
private enum Seeds {
    /// How many damaged inputs each test reads; `SIDESOCKET_FUZZ_ITERATIONS` raises it.
    static var iterations: Int {
        let wanted = ProcessInfo.processInfo.environment["SIDESOCKET_FUZZ_ITERATIONS"].flatMap { Int($0) }
        return max(20_000, wanted ?? 0)
    }

    static func load(_ folder: String, file: String = #filePath) throws -> [[UInt8]] {
        let here = file.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        let directory = here + "/Seeds/" + folder
        return try FileManager.default.contentsOfDirectory(atPath: directory)
            .filter { !$0.hasPrefix(".") }
            .sorted()
            .compactMap { FileManager.default.contents(atPath: directory + "/" + $0).map { [UInt8]($0) } }
    }

    /// The bytes as text that can be pasted into a test or a seed.
    static func literal(_ bytes: [UInt8]) -> String {
        var text = "\""
        for byte in bytes {
            if byte >= 0x20, byte < 0x7F {
                text.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                text += "\\x" + String(byte, radix: 16)
            }
        }
        return text + "\""
    }
}

/// Damages inputs the same way on every machine.
private struct ByteMutator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    private static let odd = Array("\r\n\0\t :;,/#\"09afzHT=\u{7F}".utf8) + [0x80, 0xFF]
    private static let phrases: [[UInt8]] = [
        "\r\n", "\r\n\r\n", "\n", "0\r\n\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "Host: a\r\n",
        "Connection: close\r\n", "ffffffffffffffff", "HTTP/1.0", "HTTP/1.1 103 x\r\n\r\n", "1\r\nx\r\n", "a: b\r\n",
    ].map { Array($0.utf8) }

    mutating func mutated(_ seeds: [[UInt8]]) -> [UInt8] {
        var bytes = seeds[below(seeds.count)]
        if below(10) == 0 { bytes = bytes.prefix(below(bytes.count + 1)) + seeds[below(seeds.count)] }
        for _ in 0...below(4) {
            let index = below(bytes.count + 1)
            let end = min(bytes.count, index + below(12))
            switch below(6) {
            case 0: bytes.insert(Self.odd[below(Self.odd.count)], at: index)
            case 1: bytes.replaceSubrange(index..<min(bytes.count, index + 1), with: [Self.odd[below(Self.odd.count)]])
            case 2: bytes.removeSubrange(index..<end)
            case 3: bytes.insert(contentsOf: Self.phrases[below(Self.phrases.count)], at: index)
            case 4: bytes.insert(contentsOf: Array(bytes[index..<end]), at: below(bytes.count + 1))
            default: bytes.replaceSubrange(index..<end, with: bytes[index..<end].map { $0 ^ 1 << UInt8(below(8)) })
            }
        }
        return bytes
    }

    /// Mostly single bytes, sometimes a few random pieces.
    mutating func cuts() -> Cuts {
        below(2) == 0 ? .eachByte : .at((0...below(6)).map { _ in below(60) })
    }

    private mutating func below(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        var word = state ^ (state >> 33)
        word = word &* 0xFF51_AFD7_ED55_8CCD
        return Int((word ^ (word >> 33)) % UInt64(max(1, bound)))
    }
}
