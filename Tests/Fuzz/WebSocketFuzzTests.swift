import FoundationEssentials
import NIOCore
import Testing

@testable import WebSocketProtocol

/// Feeds the frame reader with seeds and mutations of them.
///
/// A seed is what a client sends after the handshake, byte for byte. An input that ever crashed or broke a property
/// is added to the seeds. `SIDESOCKET_FUZZ_ITERATIONS` sets the number of mutations, for longer runs at night.
@Suite struct WebSocketFuzzTests {
    private static let limits = [
        MessageLimits(maxMessageBytes: 0, maxFragments: 1),
        MessageLimits(maxMessageBytes: 200, maxFragments: 3),
        MessageLimits(maxMessageBytes: 64 * 1024, maxFragments: 128),
    ]

    @Test("Every seed gives the same transcript whole and cut in any way")
    func seeds() throws {
        let seeds = try Self.loadSeeds()
        #expect(seeds.count >= 20)
        for (name, bytes) in seeds {
            for limits in Self.limits {
                let whole = MessageTranscript(bytes, limits: limits, cuts: [])
                #expect(whole.keepsLimits, "\(name)")
                #expect(whole == MessageTranscript(bytes, limits: limits, cuts: Array(bytes.indices)), "\(name)")
                for step in [2, 3, 5, 7, 64] {
                    let cuts = Array(stride(from: 0, to: bytes.count, by: step))
                    #expect(
                        whole == MessageTranscript(bytes, limits: limits, cuts: cuts),
                        "\(name) in steps of \(step)"
                    )
                }
            }
        }
    }

    @Test("Mutated seeds never crash, keep the limits and give the same transcript however they are cut")
    func mutations() throws {
        let seeds = try Self.loadSeeds().map(\.bytes)
        let iterations =
            ProcessInfo.processInfo.environment["SIDESOCKET_FUZZ_ITERATIONS"].flatMap { Int($0) } ?? 20_000
        var mutator = FuzzMutator(seed: 0x5EED_6455)
        for iteration in 0..<max(iterations, 0) {
            let bytes = mutator.input(from: seeds)
            let limits = Self.limits[iteration % Self.limits.count]
            let whole = MessageTranscript(bytes, limits: limits, cuts: [])
            let split = MessageTranscript(bytes, limits: limits, cuts: Array(bytes.indices))
            let random = MessageTranscript(bytes, limits: limits, cuts: mutator.cuts(of: bytes))
            if whole != split || whole != random || !whole.keepsLimits {
                Issue.record("iteration \(iteration), limits \(limits): \(bytes)")
                return
            }
        }
    }

    @Test("What is encoded as a client would is decoded to the same messages")
    func roundTrip() {
        var mutator = FuzzMutator(seed: 0x600D_6455)
        for _ in 0..<1000 {
            let payload = mutator.payload()
            let bytes = mutator.fragments(of: payload)
            let limits = MessageLimits(maxMessageBytes: 1024, maxFragments: 1024)
            let heard = MessageTranscript(bytes, limits: limits, cuts: mutator.cuts(of: bytes))
            #expect(heard.events == [.message(.binary, ByteBuffer(bytes: payload))])
            #expect(heard.violation == nil)
        }
    }

    private static func loadSeeds() throws -> [(name: String, bytes: [UInt8])] {
        let folder = #filePath.split(separator: "/").dropLast().joined(separator: "/")
        let path = "/" + folder + "/Seeds/websocket"
        return try FileManager.default.contentsOfDirectory(atPath: path).sorted().map { name in
            (name, Array(try Data(contentsOf: URL(filePath: path + "/" + name))))
        }
    }
}

/// All that a reader said about some bytes.
struct MessageTranscript: Equatable {
    var events: [WebSocketEvent] = []
    var violation: ProtocolViolation?
    var isAssembling = false
    /// False when a payload was longer than it may be, or bytes were kept that should have been used.
    var keepsLimits = true

    /// Feeds `bytes` in pieces that begin at `cuts`, which rise.
    init(_ bytes: [UInt8], limits: MessageLimits, cuts: [Int]) {
        self.init(bytes, limits: limits, cuts: cuts, reader: MessageReader(limits: limits))
    }

    /// Feeds `bytes` to a `reader` that has those `limits`.
    init(_ bytes: [UInt8], limits: MessageLimits, cuts: [Int], reader: consuming MessageReader) {
        var buffer = ByteBuffer()
        var start = 0
        for end in cuts + [bytes.count] {
            buffer.writeBytes(bytes[start..<end])
            start = end
            self.drain(&reader, &buffer, limits)
        }
        self.isAssembling = reader.isAssembling
    }

    private mutating func drain(_ reader: inout MessageReader, _ buffer: inout ByteBuffer, _ limits: MessageLimits) {
        do throws(ProtocolViolation) {
            while let event = try reader.next(from: &buffer) {
                // After the end nothing may be heard.
                self.keepsLimits = self.keepsLimits && self.violation == nil && !self.hasClosed
                self.keepsLimits = self.keepsLimits && Self.fits(event, limits)
                self.events.append(event)
            }
        } catch {
            self.keepsLimits = self.keepsLimits && self.violation == nil && !self.hasClosed
            self.violation = error
        }
        self.keepsLimits = self.keepsLimits && buffer.readableBytes <= 13
        self.keepsLimits = self.keepsLimits && reader.bytesAssembled <= limits.maxMessageBytes
        self.keepsLimits = self.keepsLimits && reader.fragmentsReceived <= limits.maxFragments
    }

    private var hasClosed: Bool {
        if case .close? = self.events.last { true } else { false }
    }

    private static func fits(_ event: WebSocketEvent, _ limits: MessageLimits) -> Bool {
        switch event {
        case .message(.text, let payload):
            payload.readableBytes <= limits.maxMessageBytes
                && String(validating: payload.readableBytesView, as: UTF8.self) != nil
        case .message(.binary, let payload): payload.readableBytes <= limits.maxMessageBytes
        case .ping(let payload), .pong(let payload): payload.readableBytes <= 125
        case .close(let code, let reason): reason.utf8.count <= 123 && code?.mayTravel != false
        }
    }
}

/// Makes inputs that look random and are the same in each run.
struct FuzzMutator {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    /// One or two seeds with some bytes changed.
    mutating func input(from seeds: [[UInt8]]) -> [UInt8] {
        var bytes = self.pick(seeds)
        if self.below(3) == 0 { bytes += self.pick(seeds) }
        // Long seeds would take all the time; their first bytes hold what is worth changing.
        if bytes.count > 600 { bytes.removeLast(bytes.count - 600) }
        for _ in 0..<self.below(6) {
            self.mutate(&bytes, seeds)
        }
        return bytes
    }

    /// Rising offsets at which to cut `bytes`.
    mutating func cuts(of bytes: [UInt8]) -> [Int] {
        (0..<self.below(8)).map { _ in self.below(bytes.count + 1) }.sorted()
    }

    /// `bytes` with up to `count` changes.
    mutating func changed(_ bytes: [UInt8], upTo count: Int, seeds: [[UInt8]]) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<self.below(count + 1) {
            self.mutate(&bytes, seeds)
        }
        return bytes
    }

    mutating func payload() -> [UInt8] {
        (0..<self.below(700)).map { _ in UInt8(truncatingIfNeeded: self.next()) }
    }

    /// The masked frames of a message that carries `payload`, some of them empty.
    ///
    /// - Parameter first: the first byte of the first frame without FIN; 2 is a binary message.
    mutating func fragments(of payload: [UInt8], first: UInt8 = 2) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = payload[...]
        var opcode = first
        while true {
            let isLast = self.below(4) == 0
            let part = isLast ? rest : rest.prefix(self.below(200))
            rest = rest.dropFirst(part.count)
            bytes.append(opcode | (isLast ? 0x80 : 0))
            if part.count < 126 {
                bytes.append(0x80 | UInt8(part.count))
            } else if part.count > 0xFFFF {
                bytes += [0x80 | 127] + (0..<8).map { UInt8(truncatingIfNeeded: part.count >> (56 - 8 * $0)) }
            } else {
                bytes += [0x80 | 126, UInt8(part.count >> 8), UInt8(part.count & 0xFF)]
            }
            let key = (0..<4).map { _ in UInt8(truncatingIfNeeded: self.next()) }
            bytes += key
            bytes += part.enumerated().map { $1 ^ key[$0 % 4] }
            if isLast { return bytes }
            opcode = 0
        }
    }

    private mutating func mutate(_ bytes: inout [UInt8], _ seeds: [[UInt8]]) {
        guard !bytes.isEmpty else {
            bytes = self.pick(seeds)
            return
        }
        let index = self.below(bytes.count)
        switch self.below(8) {
        case 0: bytes[index] ^= 1 << UInt8(self.below(8))
        case 1: bytes[index] = UInt8(truncatingIfNeeded: self.next())
        case 2: bytes.remove(at: index)
        case 3: bytes.insert(UInt8(truncatingIfNeeded: self.next()), at: index)
        case 4: bytes.removeLast(bytes.count - index)
        case 5: bytes.insert(contentsOf: bytes[index...].prefix(40), at: index)
        case 6: bytes.insert(contentsOf: self.pick(seeds).prefix(40), at: index)
        default: bytes[index] = self.pick([0x00, 0x01, 0x02, 0x7E, 0x7F, 0x80, 0x81, 0x88, 0x89, 0xFE, 0xFF])
        }
    }

    mutating func pick<Value>(_ values: [Value]) -> Value { values[self.below(values.count)] }

    mutating func below(_ bound: Int) -> Int { Int(self.next() % UInt64(max(bound, 1))) }

    private mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}
