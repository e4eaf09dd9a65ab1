import FoundationEssentials
import NIOCore
import TestSupport
import Testing

@testable import SidecarCore

/// Feeds bodies of POSTs of the client protocol, whole and damaged, to what reads them. An input that ever broke it becomes
/// a seed.
@Suite("Fuzz: the client protocol over HTTP")
struct PostFuzzTests {
    @Test("Every seed is taken, or refused when it is bad, and no part of one does harm")
    func seeds() throws {
        let seeds = try Self.load()
        #expect(seeds.count >= 30)
        for (name, bytes) in seeds {
            #expect(Self.isTaken(bytes) == !name.hasPrefix("bad-"), "\(name)")
            for length in 0..<bytes.count { _ = Self.isTaken(Array(bytes[..<length])) }
        }
    }

    @Test("Damaged bodies never crash, and the frames of those that are taken lie in them")
    func mutations() throws {
        let seeds = try Self.load().map(\.bytes)
        let wanted = ProcessInfo.processInfo.environment["SIDESOCKET_FUZZ_ITERATIONS"].flatMap { Int($0) } ?? 20_000
        var random = SeededRandom(seed: 17)
        let odd = Array("{}[]\",:\\0-.en \n".utf8) + [0x00, 0x7F, 0x80, 0xFF]
        var taken = 0
        for _ in 0..<max(wanted, 0) {
            guard var bytes = seeds.randomElement(using: &random) else { return }
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let index = Int.random(in: 0...bytes.count, using: &random)
                let end = min(bytes.count, index + Int.random(in: 0...6, using: &random))
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes.insert(odd.randomElement(using: &random) ?? 0, at: index)
                case 1: bytes.removeSubrange(index..<end)
                case 2: bytes.insert(contentsOf: Array(bytes[index..<end]), at: index)
                default: bytes.replaceSubrange(index..<end, with: bytes[index..<end].map { $0 ^ 1 })
                }
            }
            if Self.isTaken(bytes) { taken += 1 }
        }
        // Damage that always breaks the body would test nothing behind it.
        #expect(taken >= wanted / 25)
    }

    private static func isTaken(_ bytes: [UInt8]) -> Bool {
        do throws(ProtocolPost.Fault) {
            let post = try ProtocolPost(body: ByteBuffer(bytes: bytes))
            let text = String(decoding: bytes, as: UTF8.self)
            let areInside = post.frames.allSatisfy { text.contains(String(buffer: $0)) }
            #expect(post.number > 0 && areInside && post.frames.count <= bytes.count)
            return true
        } catch {
            #expect(!error.what.isEmpty)
            return false
        }
    }

    private static func load(file: String = #filePath) throws -> [(name: String, bytes: [UInt8])] {
        let here = file.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        let directory = here + "/Seeds/post"
        return try FileManager.default.contentsOfDirectory(atPath: directory).sorted().compactMap { name in
            FileManager.default.contents(atPath: directory + "/" + name).map { (name, [UInt8]($0)) }
        }
    }
}
