import FoundationEssentials
import TestSupport
import Testing

@testable import SidecarCore

/// Settings files come from people and their tools: whatever they hold, reading ends with entries and faults.
@Suite("Fuzz: settings files")
struct YAMLFuzzTests {
    private static let seeds: [[UInt8]] = {
        var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast()
        let folder = parts.joined(separator: "/") + "/Seeds/yaml"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.sorted().compactMap { FileManager.default.contents(atPath: "\(folder)/\($0)").map(Array.init) }
    }()

    /// What holds for every file.
    private func check(_ bytes: [UInt8]) {
        let document = SettingsFile.read(bytes)
        let lineCount = bytes.count { $0 == 0x0A } + 1
        #expect(document.entries.allSatisfy { (1...lineCount).contains($0.line) })
        #expect(document.faults.allSatisfy { (1...lineCount).contains($0.line) })
        #expect(document.faults.count <= 21)
        var raw = RawSettings()
        raw.add(file: bytes, path: "fuzz")
        _ = Settings.parse(raw)
    }

    @Test("there are seeds, and each is read")
    func seedsAreRead() {
        #expect(Self.seeds.count >= 5)
        for seed in Self.seeds { check(seed) }
    }

    @Test("a seed cut at any byte is read")
    func cut() {
        for seed in Self.seeds {
            for length in seed.indices {
                check(Array(seed[..<length]))
                check(Array(seed[length...]))
            }
        }
    }

    @Test("seeds with bytes changed, dropped, doubled and mixed are read", arguments: UInt64(1)...8)
    func mutated(run: UInt64) throws {
        var numbers = SeededRandom(seed: run)
        let special = Array("[]{},#&*!|>'\"%@`?:- \t\r\n\\u~0\u{FEFF}é".utf8) + [0, 0x7F, 0xFF]
        for _ in 0..<400 {
            var bytes = try #require(Self.seeds.randomElement(using: &numbers))
            for _ in 0..<Int.random(in: 1...6, using: &numbers) where !bytes.isEmpty {
                let index = Int.random(in: 0..<bytes.count, using: &numbers)
                switch Int.random(in: 0..<4, using: &numbers) {
                case 0: bytes[index] = try #require(special.randomElement(using: &numbers))
                case 1: bytes.remove(at: index)
                case 2: bytes.insert(try #require(special.randomElement(using: &numbers)), at: index)
                default: bytes += try #require(Self.seeds.randomElement(using: &numbers)).suffix(index)
                }
            }
            check(bytes)
        }
    }

    @Test("any text written in quotes is read back, from YAML and from JSON alike")
    func roundTrip() throws {
        var numbers = SeededRandom(seed: 42)
        let alphabet = Array("ab :#[]{},'\"\\-é😀*&!|>%@`?~/").map(String.init)
        for _ in 0..<500 {
            let items = (0..<Int.random(in: 1...3, using: &numbers)).map { _ in
                (0..<Int.random(in: 0...12, using: &numbers)).map { _ in alphabet.randomElement(using: &numbers) ?? "" }
                    .joined()
            }
            let double = items.map { item in
                "\"" + item.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }.joined() + "\""
            }
            let single = items.map { item in "'" + item.map { $0 == "'" ? "''" : String($0) }.joined() + "'" }
            let expected = [FlatDocument.Entry(key: "k", value: .list(items), line: 1)]
            let files = [
                "{\"k\": [\(double.joined(separator: ","))]}", "k: [\(double.joined(separator: ", "))]",
                "k: [\(single.joined(separator: " , "))] # end", "k:\n- \(single.joined(separator: "\n- "))",
                "k:\r\n  - \(double.joined(separator: " # c\r\n  - "))\r\n",
            ]
            for file in files {
                let document = SettingsFile.read(Array(file.utf8))
                #expect(document.entries == expected && document.faults == [], "\(file)")
            }
        }
    }
}
