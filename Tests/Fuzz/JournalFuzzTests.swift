import FoundationEssentials
import NIOCore
import SidecarCore
import TestSupport
import Testing

/// Feeds records of the outbox, whole and damaged, of this version and the last one, to what reads them.
///
/// A seed is one record of any kind; all readers get each of them. An input that ever crashed or broke a property is
/// added to the seeds.
@Suite("Fuzz: records of the outbox")
struct JournalFuzzTests {
    @Test("Every seed is read by its reader, and whatever is left of it when it is cut does no harm")
    func seeds() throws {
        let seeds = try JournalSeeds.load()
        #expect(seeds.count >= 30)
        for (name, bytes) in seeds {
            let verdict = JournalVerdict(bytes)
            #expect(verdict.fault == nil, "\(name): \(verdict.fault ?? "")")
            #expect(verdict.readers.isEmpty == name.hasPrefix("bad-"), "\(name): read as \(verdict.readers)")
            for length in 0..<bytes.count {
                let cut = JournalVerdict(Array(bytes[..<length]))
                #expect(cut.fault == nil, "\(name) cut at \(length): \(cut.fault ?? "")")
            }
        }
    }

    @Test("Damaged records never crash, and nothing unfit comes out of them")
    func mutations() throws {
        let seeds = try JournalSeeds.load().map(\.bytes)
        let wanted = ProcessInfo.processInfo.environment["SIDESOCKET_FUZZ_ITERATIONS"].flatMap { Int($0) } ?? 20_000
        var random = SeededRandom(seed: 0x5EED_0B0C)
        var accepted = 0
        for iteration in 0..<max(wanted, 0) {
            let bytes = damaged(seeds, &random)
            let verdict = JournalVerdict(bytes)
            if !verdict.readers.isEmpty { accepted += 1 }
            if let fault = verdict.fault {
                Issue.record("iteration \(iteration): \(fault): \(bytes)")
                return
            }
        }
        // Damage that always breaks the record would test nothing behind it.
        #expect(accepted > wanted / 50)
    }

    private func damaged(_ seeds: [[UInt8]], _ random: inout SeededRandom) -> [UInt8] {
        guard var bytes = seeds.randomElement(using: &random) else { return [] }
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            let index = Int.random(in: 0...bytes.count, using: &random)
            let end = min(bytes.count, index + Int.random(in: 0...8, using: &random))
            switch Int.random(in: 0..<5, using: &random) {
            case 0: bytes.insert(UInt8.random(in: .min ... .max, using: &random), at: index)
            case 1: bytes.removeSubrange(index..<end)
            case 2: bytes.insert(contentsOf: Array(bytes[index..<end]), at: index)
            case 3:
                let other = seeds.randomElement(using: &random) ?? []
                bytes.replaceSubrange(index..<end, with: other.suffix(20))
            default:
                let flip = UInt8(1) << UInt8.random(in: 0..<8, using: &random)
                bytes.replaceSubrange(index..<end, with: bytes[index..<end].map { $0 ^ flip })
            }
        }
        return bytes
    }
}

/// What was made of some bytes, and what is wrong with that.
private struct JournalVerdict {
    /// Which readers took them.
    private(set) var readers: [String] = []
    private(set) var fault: String?

    private static let id = "Zk3-_x"
    private static let dialect = CloudEventsDialect(
        nodeName: "node",
        authority: "app",
        preserveHost: false,
        webhookPath: nil,
        forwardedHeaders: []
    )

    init(_ bytes: [UInt8]) {
        let isCurrent = (bytes.first ?? 0) < 0x20
        if let connection = try? WebhookConnection(record: bytes, id: Self.id) {
            readers.append("connection")
            let again = connection.record
            if isCurrent, again != bytes { fault = "a connection with two records" }
            if (try? WebhookConnection(record: again, id: Self.id)) != connection { fault = "another connection" }
            let lines = Self.dialect.prepare(connection).bytes
            let expected =
                9 + connection.fields.count + (connection.transportKind == .webSocket ? 0 : 1)
                + (connection.forwarding.named == nil ? 0 : 1)
            check(lines, lineCount: expected)
            // Version 1 kept just these lines.
            if (try? WebhookConnection(record: lines, id: Self.id)) != connection {
                fault = "lines that say something else"
            }
        }
        if let identity = try? ConnectionIdentity(record: bytes) {
            readers.append("identity")
            if isCurrent, identity.record != bytes { fault = "an identity with two records" }
            if (try? ConnectionIdentity(record: identity.record)) != identity { fault = "another identity" }
            if let lines = Self.dialect.prepare(identity)?.bytes {
                let expected =
                    identity.claims.count + (identity.user == nil ? 0 : 1) + (identity.state == nil ? 0 : 1)
                check(lines, lineCount: expected)
            }
        }
        if let report = try? CloseReport(record: bytes) {
            readers.append("close")
            if isCurrent, report.record != bytes { fault = "a close with two records" }
            if (try? CloseReport(record: report.record)) != report { fault = "another close" }
            if !report.json.readableBytesView.allSatisfy({ $0 >= 0x20 }) { fault = "a control character in the report" }
        }
    }

    /// What goes into a request has to be so many lines and nothing that ends a line elsewhere.
    private mutating func check(_ bytes: [UInt8], lineCount: Int) {
        let ends = bytes.indices.filter { bytes[$0] == 0x0A }
        if ends.count != lineCount || bytes.count(where: { $0 == 0x0D }) != lineCount {
            fault = "\(ends.count) lines instead of \(lineCount)"
        }
        if !ends.allSatisfy({ $0 > 0 && bytes[$0 - 1] == 0x0D }) || bytes.contains(0) { fault = "a bare line feed" }
    }
}

private enum JournalSeeds {
    static func load(file: String = #filePath) throws -> [(name: String, bytes: [UInt8])] {
        let here = file.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        let directory = here + "/Seeds/journal"
        return try FileManager.default.contentsOfDirectory(atPath: directory)
            .filter { !$0.hasPrefix(".") }
            .sorted()
            .compactMap { name in
                FileManager.default.contents(atPath: directory + "/" + name).map { (name, [UInt8]($0)) }
            }
    }
}
