import FoundationEssentials
import NIOCore
import Testing

@testable import WebSocketProtocol

/// Feeds the frame reader with compressed payloads and mutations of them.
///
/// A seed is the compressed payload of one message, without the tail. An input that ever crashed or broke a property
/// is added to the seeds. `SIDESOCKET_FUZZ_ITERATIONS` sets the number of mutations, for longer runs at night.
@Suite struct DeflateFuzzTests {
    private static let limits = [
        MessageLimits(maxMessageBytes: 0, maxFragments: 1000),
        MessageLimits(maxMessageBytes: 100, maxFragments: 1000),
        MessageLimits(maxMessageBytes: 300_000, maxFragments: 1000, maxCompressionRatio: 3),
        MessageLimits(maxMessageBytes: 100_000, maxFragments: 1000, maxCompressionRatio: nil),
        MessageLimits(maxMessageBytes: 1 << 20, maxFragments: 1000),
    ]

    private static let agreements: [NegotiatedDeflate] = [
        ("permessage-deflate", false), ("permessage-deflate; client_max_window_bits=9", true),
        ("permessage-deflate", true),
    ].compactMap { NegotiatedDeflate(offers: [$0], settings: DeflateSettings(allowContextTakeover: $1)) }

    @Test("Every compressed seed gives the same transcript whole and cut in any way")
    func seeds() throws {
        let seeds = try Self.loadSeeds()
        #expect(seeds.count >= 30)
        let codecs = DeflateCodecs()
        for (name, payload) in seeds {
            for first in [0x41, 0x42] as [UInt8] {
                var mutator = FuzzMutator(seed: 1)
                let bytes = mutator.fragments(of: payload, first: first) + mutator.fragments(of: payload, first: first)
                for (limits, deflate) in Self.combinations {
                    func heard(_ cuts: [Int]) -> MessageTranscript {
                        MessageTranscript(bytes, limits, deflate, codecs, cuts)
                    }
                    let whole = heard([])
                    #expect(whole.keepsLimits, "\(name)")
                    #expect(whole == heard(Array(bytes.indices)), "\(name)")
                    for step in [2, 5, 64] {
                        let cuts = Array(stride(from: 0, to: bytes.count, by: step))
                        #expect(whole == heard(cuts), "\(name) in steps of \(step)")
                    }
                }
            }
        }
    }

    @Test("Mutated compressed payloads never crash, never pass a cap and give the same transcript however they are cut")
    func mutations() throws {
        let seeds = try Self.loadSeeds().map(\.bytes)
        let iterations =
            ProcessInfo.processInfo.environment["SIDESOCKET_FUZZ_ITERATIONS"].flatMap { Int($0) } ?? 5_000
        var mutator = FuzzMutator(seed: 0x5EED_7692)
        let codecs = DeflateCodecs()
        for iteration in 0..<max(iterations, 0) {
            let first: UInt8 = mutator.below(2) == 0 ? 0x41 : 0x42
            var bytes: [UInt8] = []
            for _ in 0...mutator.below(3) {
                // Long seeds would take all the time, so their first bytes stand for them most times.
                let seed = mutator.pick(seeds).prefix(mutator.below(10) == 0 ? .max : 600)
                let payload = mutator.changed(Array(seed), upTo: 4, seeds: seeds)
                bytes += mutator.fragments(of: payload, first: first)
            }
            // Now and then the frames are broken, too.
            if mutator.below(4) == 0 { bytes = mutator.changed(bytes, upTo: 3, seeds: seeds) }
            let (limits, deflate) = Self.combinations[iteration % Self.combinations.count]
            let whole = MessageTranscript(bytes, limits, deflate, codecs, [])
            let split = MessageTranscript(bytes, limits, deflate, codecs, Array(bytes.indices))
            let random = MessageTranscript(bytes, limits, deflate, codecs, mutator.cuts(of: bytes))
            if whole != split || whole != random || !whole.keepsLimits || !whole.keepsRatio(limits, bytes.count) {
                Issue.record("iteration \(iteration), limits \(limits): \(bytes)")
                return
            }
        }
        // Four decompressors at most are kept, whatever happened to them.
        #expect(codecs.idleBytes <= 4 * 39_928)
    }

    @Test("What our compressor makes is inflated to what it was")
    func roundTrip() {
        var mutator = FuzzMutator(seed: 0x600D_7692)
        let codecs = DeflateCodecs()
        for deflate in Self.agreements {
            var compressor = MessageCompressor(deflate: deflate, codecs: codecs, minimumBytes: 1)
            var bytes: [UInt8] = []
            var sent: [WebSocketEvent] = []
            for _ in 0..<500 {
                let pieces = (0...mutator.below(4)).map { _ in mutator.payload().prefix(80) }
                let plain = (0..<mutator.below(60)).flatMap { _ in mutator.pick(pieces) }
                var compressed = ByteBuffer()
                guard compressor.compress(ByteBuffer(bytes: plain), into: &compressed) else { continue }
                bytes += mutator.fragments(of: Array(compressed.readableBytesView), first: 0x42)
                sent.append(.message(.binary, ByteBuffer(bytes: plain)))
            }
            #expect(sent.count > 200)
            // Our window is no larger than the one that we read with, so we understand ourselves.
            let limits = MessageLimits(maxMessageBytes: 1 << 20, maxFragments: 1 << 20, maxCompressionRatio: nil)
            guard deflate != Self.agreements[1] else { continue }
            let heard = MessageTranscript(bytes, limits, deflate, codecs, mutator.cuts(of: bytes))
            #expect(heard.events == sent)
            #expect(heard.violation == nil)
        }
    }

    @Test("Mutated offers never crash, and what is accepted keeps to the rules")
    func offers() {
        let parts = [
            "permessage-deflate", "; ", ";", ", ", "=", "\"", "\\", "server_max_window_bits", "client_max_window_bits",
            "server_no_context_takeover", "client_no_context_takeover", "8", "9", "10", "15", "16", "x", " ", "\t",
            "permessage-deflate; client_max_window_bits", "; server_max_window_bits=",
        ]
        var mutator = FuzzMutator(seed: 0x0FFE_7692)
        var accepted = 0
        for _ in 0..<100_000 {
            let offer = (0..<mutator.below(12)).map { _ in mutator.pick(parts) }.joined()
            let settings = DeflateSettings(allowContextTakeover: mutator.below(2) == 0, clientWindowBits: 12)
            guard let deflate = NegotiatedDeflate(offers: [offer], settings: settings) else { continue }
            accepted += 1
            #expect(offer.contains("permessage-deflate"))
            if let bits = deflate.serverMaxWindowBits {
                #expect(9...15 ~= bits && offer.contains("server_max_window_bits"))
            }
            if let bits = deflate.clientMaxWindowBits {
                #expect(bits == 12 && offer.contains("client_max_window_bits"))
            }
        }
        #expect(accepted > 100)
    }

    private static let combinations: [(MessageLimits, NegotiatedDeflate)] =
        Self.limits.flatMap { limits in Self.agreements.map { (limits, $0) } }

    private static func loadSeeds() throws -> [(name: String, bytes: [UInt8])] {
        let folder = #filePath.split(separator: "/").dropLast().joined(separator: "/")
        let path = "/" + folder + "/Seeds/deflate"
        return try FileManager.default.contentsOfDirectory(atPath: path).sorted().map { name in
            (name, Array(try Data(contentsOf: URL(filePath: path + "/" + name))))
        }
    }
}

extension MessageTranscript {
    fileprivate init(
        _ bytes: [UInt8],
        _ limits: MessageLimits,
        _ deflate: NegotiatedDeflate,
        _ codecs: DeflateCodecs,
        _ cuts: [Int]
    ) {
        let reader = MessageReader(limits: limits, deflate: deflate, codecs: codecs)
        self.init(bytes, limits: limits, cuts: cuts, reader: reader)
    }

    /// True when no message is larger than its ratio allows; `count` is what all of them took on the wire.
    fileprivate func keepsRatio(_ limits: MessageLimits, _ count: Int) -> Bool {
        guard let ratio = limits.maxCompressionRatio else { return true }
        return self.events.allSatisfy { event in
            guard case .message(_, let payload) = event else { return true }
            return payload.readableBytes <= 256 << 10 + ratio * count
        }
    }
}
