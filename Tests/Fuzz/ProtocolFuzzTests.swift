import FoundationEssentials
import NIOCore
import TestSupport
import Testing

@testable import SidecarCore

/// Feeds frames of clients, whole and damaged, to what reads them, and what was taken to what writes frames.
///
/// A seed is one message of the encoding that its name ends with. An input that ever crashed or broke a property is
/// added to the seeds.
@Suite("Fuzz: the client protocol")
struct ProtocolFuzzTests {
    @Test("Every seed is taken, or refused when it is bad, and whatever is left of it when it is cut does no harm")
    func seeds() throws {
        let seeds = try ProtocolSeed.load()
        for encoding in ProtocolEncoding.allCases {
            let count = seeds.count { $0.encoding == encoding }
            #expect(count >= 30)
        }
        for seed in seeds {
            let verdict = ProtocolVerdict(seed.bytes, seed.encoding)
            #expect(verdict.fault == nil, "\(seed.name): \(verdict.fault ?? "")")
            #expect(verdict.isTaken == !seed.name.hasPrefix("bad-"), "\(seed.name)")
            for length in 0..<seed.bytes.count {
                let bytes = ProtocolSeed.valid(Array(seed.bytes[..<length]), seed.encoding)
                let cut = ProtocolVerdict(bytes, seed.encoding)
                #expect(cut.fault == nil, "\(seed.name) cut at \(length): \(cut.fault ?? "")")
            }
        }
    }

    @Test("Damaged frames never crash, and what is taken of them is whole", arguments: ProtocolEncoding.allCases)
    func mutations(encoding: ProtocolEncoding) throws {
        let seeds = try ProtocolSeed.load().filter { $0.encoding == encoding }.map(\.bytes)
        let wanted = ProcessInfo.processInfo.environment["SIDESOCKET_FUZZ_ITERATIONS"].flatMap { Int($0) } ?? 20_000
        let known = Set(seeds)
        var mutator = ProtocolMutator(encoding, seeds)
        var taken = 0
        var converted = 0
        for iteration in 0..<max(wanted, 0) {
            let bytes = mutator.damaged()
            let verdict = ProtocolVerdict(bytes, encoding)
            if !known.contains(bytes) {
                if verdict.isTaken { taken += 1 }
                if verdict.isConverted { converted += 1 }
            }
            if let fault = verdict.fault {
                Issue.record("iteration \(iteration): \(fault): \(bytes)")
                return
            }
        }
        // Damage that always breaks the frame would test nothing behind it.
        #expect(taken >= wanted / 25)
        #expect(encoding == .messagePack || converted >= wanted / 25)
    }
}

/// What was made of some bytes, and what is wrong with that.
private struct ProtocolVerdict {
    private typealias Outcome = Result<ClientFrame, ClientFrameFault>

    private(set) var isTaken = false
    /// Whether its payload, or all of it, is JSON that MessagePack has an equivalent of.
    private(set) var isConverted = false
    private(set) var fault: String?

    private static let nulls: [[UInt8]] = [Array("null".utf8), [0xC0]]

    init(_ bytes: [UInt8], _ encoding: ProtocolEncoding) {
        let outcome = Self.read(ByteBuffer(bytes: bytes), encoding)
        if Self.read(ByteBuffer(bytes: bytes), encoding) != outcome { fault = "the same says something else" }
        // As a part of a larger buffer, which begins neither where the storage does nor where the slice does.
        var larger = ByteBuffer(bytes: [0x7B, 0x22, 0x82, 0xA4, 0x5B])
        larger.writeBytes(bytes)
        larger.writeBytes([0x7D, 0x22, 0xC0])
        if var part = larger.getSlice(at: 2, length: 3 + bytes.count) {
            part.moveReaderIndex(forwardBy: 3)
            if Self.read(part, encoding) != outcome { fault = "a part of a larger buffer says something else" }
        } else {
            fault = "no part of a larger buffer"
        }
        switch outcome {
        case .success(let frame):
            isTaken = true
            check(frame, of: bytes, encoding)
        case .failure(.notAFrame(let reason)):
            // It becomes the reason of a Close frame.
            if !(1...123).contains(reason.utf8.count) { fault = "a reason of \(reason.utf8.count) bytes" }
        case .failure(.badFrame(let id, let message)):
            check(id)
            if message.isEmpty { fault = "a fault without a message" }
        }
        if encoding == .json { checkConversion(bytes) }
    }

    private static func read(_ message: ByteBuffer, _ encoding: ProtocolEncoding) -> Outcome {
        do throws(ClientFrameFault) {
            return .success(try encoding.read(encoding.format, message))
        } catch {
            return .failure(error)
        }
    }

    private static func isPrintable(_ text: String, upTo count: Int) -> Bool {
        (1...count).contains(text.utf8.count) && text.utf8.allSatisfy { $0 >= 0x20 && $0 <= 0x7E }
    }

    // MARK: What was taken

    private mutating func check(_ id: String?) {
        if let id, !Self.isPrintable(id, upTo: 64) { fault = "the id \(id)" }
    }

    private mutating func check(_ frame: ClientFrame, of bytes: [UInt8], _ encoding: ProtocolEncoding) {
        switch frame {
        case .message(let label, let format, let payload):
            check(label.id)
            let isOurs = label.type.utf8.first == 0x24 || label.type.utf8.starts(with: "client-".utf8)
            if !Self.isPrintable(label.type, upTo: 128) || isOurs { fault = "the type \(label.type)" }
            check(format, payload, of: bytes, encoding)
        case .clientEvent(let event):
            check(event.id)
            let isEvent = event.type.utf8.starts(with: "client-".utf8)
            if !Self.isPrintable(event.type, upTo: 128) || !isEvent { fault = "the event \(event.type)" }
            if ChannelName(event.channel.text) != event.channel { fault = "the channel \(event.channel)" }
            check(event.format, event.payload, of: bytes, encoding)
        case .acknowledge(let seq): if seq > 9_007_199_254_740_992 { fault = "the number \(seq)" }
        case .token(_, let id): check(id)
        case .resume(let request):
            if request.seq > 9_007_199_254_740_992 { fault = "the number \(request.seq)" }
            if !request.channels.keys.allSatisfy({ ChannelName($0.text) == $0 }) { fault = "a channel" }
        case .ping, .pong, .close: break
        }
    }

    private mutating func check(
        _ format: MessageFormat,
        _ payload: ByteBuffer,
        of bytes: [UInt8],
        _ encoding: ProtocolEncoding
    ) {
        let part = Array(payload.readableBytesView)
        if !Self.nulls.contains(part), !Self.contains(bytes, part) { fault = "a payload from elsewhere" }
        switch (encoding, format) {
        case (.json, .json): checkConversion(part)
        case (.messagePack, .messagePack):
            if !Self.isOneValue(part) { fault = "a payload that is not one value" }
        case (.messagePack, .binary): break
        default: fault = "a payload that is \(format)"
        }
        for target in ProtocolEncoding.allCases { checkSending(format, payload, in: target) }
    }

    private static func contains(_ bytes: [UInt8], _ part: [UInt8]) -> Bool {
        guard let first = part.first, part.count <= bytes.count else { return part.isEmpty }
        for start in 0...bytes.count - part.count where bytes[start] == first {
            if bytes[start..<start + part.count].elementsEqual(part) { return true }
        }
        return false
    }

    // MARK: What is made of it

    /// A payload that a client has sent is one that can be sent to a client, in a frame that holds just it.
    private mutating func checkSending(_ format: MessageFormat, _ payload: ByteBuffer, in encoding: ProtocolEncoding) {
        let message = SentMessage(type: "t", answers: "q", seq: 1, time: 1, format: format, payload: payload)
        let frame = encoding.write(.message(message))
        guard case .success(.message(let label, let again, let content)) = Self.read(frame, encoding),
            label.type == "t", label.id == nil
        else {
            fault = "a broken frame in \(encoding)"
            return
        }
        if (encoding == .json) == format.isText, content != payload || again != format {
            fault = "another payload in \(encoding)"
        }
        guard encoding == .json else { return }
        // Both values lie equally deep.
        let outer = JSONValue(Array(frame.readableBytesView))?.object?["payload"]
        guard format == .json else {
            if outer?.object?["base64"]?.string == nil { fault = "bytes that are not Base64" }
            return
        }
        let wrapped: [[UInt8]] = [[0x5B], Array(payload.readableBytesView), [0x5D]]
        let inner = JSONValue(Array(wrapped.joined()))?.array
        if outer != inner?.first || (inner?.count ?? 1) != 1 { fault = "another value in the frame" }
    }

    /// What becomes of JSON in MessagePack is one whole value, or nothing at all.
    private mutating func checkConversion(_ json: [UInt8]) {
        var buffer = ByteBuffer(string: "xyz")
        let isWritten = MessagePackFromJSON.write(ByteBuffer(bytes: json), into: &buffer)
        let bytes = Array(buffer.readableBytesView)
        if !bytes.starts(with: Array("xyz".utf8)) { fault = "a conversion that writes elsewhere" }
        if isWritten {
            isConverted = true
            if !Self.isOneValue(Array(bytes.dropFirst(3))) { fault = "a conversion to something else than one value" }
        } else {
            if bytes.count != 3 { fault = "the rest of a conversion" }
            if JSONValue(json) != nil { fault = "JSON that was not converted" }
        }
    }

    private static func isOneValue(_ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { bytes in
            var reader = MessagePackReader(bytes)
            guard let range = try? reader.valueRange(maxDepth: FrameWriter.maxDepth) else { return false }
            return range == 0..<bytes.count && reader.isAtEnd
        }
    }
}

/// Damages frames the same way on every machine.
private struct ProtocolMutator {
    private let encoding: ProtocolEncoding
    private let seeds: [[UInt8]]
    private let pieces: [[UInt8]]
    private var random: SeededRandom

    private static let ofJSON: [[UInt8]] = [
        "\"", "\\", "{", "}", "[", "]", ",", ":", "null", "true", "0", "-1", "1e5", "1E999", ".5", " ", "\n", "\u{0}",
        "\u{FEFF}", "é", "\\u0000", "\\ud83d", "\\ud83d\\ude00", "\\\"", "\"x\":1,", "\"type\":\"post\",",
        "\"id\":\"i\",", "\"payload\":[1],", "\"seq\":1,", "\"channel\":\"c\",", "$ack", "client-", "[[[[", "{\"a\":",
        "9007199254740993", "9223372036854775808",
    ].map { Array($0.utf8) }

    private static let ofMessagePack: [[UInt8]] = [
        [0x00], [0x7F], [0xE0], [0x80], [0x81], [0x82], [0x83], [0x8F], [0x90], [0x91], [0x9F], [0xA0], [0xA1], [0xBF],
        [0xC0], [0xC1], [0xC2], [0xC3], [0xC4, 1], [0xC5, 0, 1], [0xC6, 0, 0, 0, 1], [0xC7, 1], [0xC8, 0, 1],
        [0xC9, 0, 0, 0, 1], [0xCA], [0xCB], [0xCC], [0xCD], [0xCE], [0xCF], [0xD0], [0xD3], [0xD4], [0xD8], [0xD9, 1],
        [0xDA, 0, 1], [0xDB, 0, 0, 0, 1], [0xDC, 0, 1], [0xDD, 0, 0, 0, 1], [0xDE, 0, 1], [0xDF, 0, 0, 0, 1],
        [0xDD, 0xFF, 0xFF, 0xFF, 0xFF], [0xDF, 0xFF, 0xFF, 0xFF, 0xFF], [0xC6, 0xFF, 0xFF, 0xFF, 0xFF],
        [0xA2, 0x69, 0x64, 0xA1, 0x69], [0xA3, 0x73, 0x65, 0x71, 0x01],
    ]

    init(_ encoding: ProtocolEncoding, _ seeds: [[UInt8]]) {
        self.encoding = encoding
        self.seeds = seeds
        pieces = encoding == .json ? Self.ofJSON : Self.ofMessagePack
        random = SeededRandom(seed: encoding == .json ? 0x5EED_0C01 : 0x5EED_0C02)
    }

    private mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<max(bound, 1), using: &random) }

    private mutating func piece() -> [UInt8] { pieces[below(pieces.count)] }

    /// A seed with one to three faults, or what happens to be none.
    mutating func damaged() -> [UInt8] {
        guard !seeds.isEmpty else { return [] }
        var bytes = seeds[below(seeds.count)]
        for _ in 0...below(3) {
            let index = below(bytes.count + 1)
            let end = min(bytes.count, index + below(9))
            switch below(8) {
            case 0: bytes.insert(contentsOf: piece(), at: index)
            case 1: bytes.replaceSubrange(index..<min(bytes.count, index + 1), with: piece())
            case 2: bytes.removeSubrange(index..<end)
            case 3: bytes.insert(contentsOf: Array(bytes[index..<end]), at: below(bytes.count + 1))
            case 4:
                let other = seeds[below(seeds.count)]
                bytes.replaceSubrange(index..<end, with: other.suffix(below(20)))
            case 5, 6: if index < bytes.count { bytes[index] = letter(instead: bytes[index]) }
            default: if index < bytes.count { bytes[index] ^= UInt8(1) << UInt8(below(8)) }
            }
        }
        return ProtocolSeed.valid(bytes, encoding)
    }

    /// Another letter or digit in the place of one, so that the frame often stays whole.
    private mutating func letter(instead byte: UInt8) -> UInt8 {
        switch byte {
        case 0x30...0x39: UInt8(0x30 + below(10))
        case 0x61...0x7A: UInt8(0x61 + below(26))
        default: byte
        }
    }
}

private struct ProtocolSeed {
    let name: String
    let encoding: ProtocolEncoding
    let bytes: [UInt8]

    /// Text has been checked to be UTF-8 before it is read as a frame.
    static func valid(_ bytes: [UInt8], _ encoding: ProtocolEncoding) -> [UInt8] {
        encoding == .json ? Array(String(decoding: bytes, as: UTF8.self).utf8) : bytes
    }

    static func load(file: String = #filePath) throws -> [ProtocolSeed] {
        let here = file.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        let directory = here + "/Seeds/protocol"
        return try FileManager.default.contentsOfDirectory(atPath: directory)
            .filter { !$0.hasPrefix(".") }
            .sorted()
            .compactMap { name in
                let encoding: ProtocolEncoding = name.hasSuffix(".json") ? .json : .messagePack
                return FileManager.default.contents(atPath: directory + "/" + name).map {
                    ProtocolSeed(name: name, encoding: encoding, bytes: [UInt8]($0))
                }
            }
    }
}
