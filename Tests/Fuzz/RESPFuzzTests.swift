import FoundationEssentials
import NIOCore
import RedisClient
import Testing

/// Feeds damaged replies to the RESP3 decoder. An input that ever broke it becomes a file in `Seeds/RESP`.
@Suite("RESP3 fuzzing")
struct RESPFuzzTests {
    @Test("Every seed and every damaged seed is read alike in every cut, within the limits")
    func replies() throws {
        let seeds = try Seeds.load()
        #expect(seeds.count >= 20)
        for seed in seeds {
            let whole = Transcript(seed, cuts: [])
            let bytewise = Transcript(seed, cuts: Array(1..<max(1, seed.count)))
            #expect(whole == bytewise && whole.fault == nil, "\(Seeds.literal(seed))")
        }
        var mutator = Mutator(state: 0x5245_5350)
        for _ in 0..<Seeds.iterations {
            let input = mutator.mutated(seeds)
            let whole = Transcript(input, cuts: [])
            let cut = Transcript(input, cuts: mutator.cuts(of: input.count))
            if whole != cut || whole.fault != nil || cut.fault != nil {
                Issue.record("\(Seeds.literal(input))\nwhole: \(whole)\ncut: \(cut)")
                return
            }
        }
    }
}

/// Small enough that mutations reach them.
private let limits = RESPLimits(maxDepth: 4, maxElements: 40, maxBytes: 400)

/// What the decoder made of an input.
private struct Transcript: Equatable {
    private(set) var lines: [String] = []
    /// What must never be, whatever the input is.
    private(set) var fault: String?

    static func == (left: Transcript, right: Transcript) -> Bool { left.lines == right.lines }

    init(_ bytes: [UInt8], cuts: [Int]) {
        var decoder = RESPDecoder(limits: limits)
        var start = 0
        for end in cuts + [bytes.count] {
            var input = ByteBuffer(bytes: bytes[start..<end])
            start = end
            do throws(RESPFault) {
                while let value = try decoder.next(&input) {
                    var elements = 0
                    let depth = measure(value, &elements)
                    if depth > limits.maxDepth { fault = "too deep" }
                    if elements > limits.maxElements { fault = "too many elements" }
                    if decoder.isInsideReply { fault = "still inside a whole reply" }
                    lines.append("\(value)")
                    use(value)
                }
            } catch {
                lines.append("\(error)")
                if (try? decoder.next(&input)) != nil { fault = "a value after a fault" }
                return
            }
            if input.readableBytes > 0 { fault = "bytes are left though more are wanted" }
        }
    }

    /// Nothing that looks at a value may trap.
    private func use(_ value: RESPValue) {
        _ = (value.text, value.integer, value.bytes, value.isNull, value["k"], value.isText("k"))
        for item in value.items ?? [] { use(item) }
    }

    private func measure(_ value: RESPValue, _ elements: inout Int) -> Int {
        guard let items = value.items else { return 0 }
        elements += items.count
        var deepest = 0
        for item in items { deepest = max(deepest, measure(item, &elements)) }
        return deepest + 1
    }
}

/// Where the inputs come from.
private enum Seeds {
    /// How many damaged inputs are read; `SIDESOCKET_FUZZ_ITERATIONS` raises it.
    static var iterations: Int {
        let wanted = ProcessInfo.processInfo.environment["SIDESOCKET_FUZZ_ITERATIONS"].flatMap { Int($0) }
        return max(20_000, wanted ?? 0)
    }

    static func load(file: String = #filePath) throws -> [[UInt8]] {
        let here = file.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        let directory = here + "/Seeds/RESP"
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
private struct Mutator {
    var state: UInt64

    private static let odd = Array("\r\n\0+-:$*_,#!=(%~>|?tf019.eE x".utf8) + [0x80, 0xFF]
    private static let phrases: [[UInt8]] = [
        "\r\n", "\r", "*1\r\n", "*2\r\n", "%1\r\n", "|1\r\n", ">2\r\n", "$3\r\nabc\r\n", "$-1\r\n", "_\r\n", "#t\r\n",
        ",nan\r\n", ",1e999\r\n", "9223372036854775808", "-9223372036854775808", "2147483647", "=7\r\ntxt:abc\r\n",
        "*1\r\n*1\r\n*1\r\n", "$?\r\n", "+OK\r\n", "-ERR x\r\n", "(123\r\n", "~0\r\n", "*1000000000\r\n",
    ].map { Array($0.utf8) }

    mutating func mutated(_ seeds: [[UInt8]]) -> [UInt8] {
        var bytes = seeds[below(seeds.count)]
        if below(6) == 0 { bytes += seeds[below(seeds.count)] }
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

    /// Every byte on its own, or some random pieces.
    mutating func cuts(of count: Int) -> [Int] {
        if below(2) == 0 { return Array(1..<max(1, count)) }
        return (0...below(6)).map { _ in below(count + 1) }.sorted()
    }

    private mutating func below(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        var word = state ^ (state >> 33)
        word = word &* 0xFF51_AFD7_ED55_8CCD
        return Int((word ^ (word >> 33)) % UInt64(max(1, bound)))
    }
}
