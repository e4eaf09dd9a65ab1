import NIOCore
import Testing

@testable import WebSocketProtocol

#if canImport(Glibc)
    import Glibc
#endif

@Suite(.serialized) struct DeflateMemoryTests {
    private static let payload = DeflateBytes.compress(DeflateVector.lines(30))
    private static let frame = ClientBytes.frame(0xC2, payload)

    /// One end of a connection with its codecs.
    private final class Connection {
        var reader: MessageReader
        var compressor: MessageCompressor
        var heard = 0

        init(_ deflate: NegotiatedDeflate, _ codecs: DeflateCodecs) {
            self.reader = MessageReader(limits: .forTests, deflate: deflate, codecs: codecs)
            self.compressor = MessageCompressor(deflate: deflate, codecs: codecs)
        }

        func talk(_ bytes: [UInt8]) throws {
            var buffer = ByteBuffer(bytes: bytes)
            while case .message(_, let payload)? = try self.reader.next(from: &buffer) {
                var compressed = ByteBuffer()
                if self.compressor.compress(payload, into: &compressed) { self.heard += 1 }
            }
        }
    }

    /// What the process has resident, in bytes; 0 where it can't be told.
    private static func residentBytes() -> Int {
        #if canImport(Glibc)
            guard let file = fopen("/proc/self/statm", "r") else { return 0 }
            defer { fclose(file) }
            var text = [CChar](repeating: 0, count: 128)
            guard fgets(&text, 128, file) != nil else { return 0 }
            let fields = String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
                .split(separator: " ")
            return fields.count > 1 ? (Int(fields[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE))) : 0
        #else
            return 0
        #endif
    }

    @Test("10,000 connections with compression that come and go five times leave no memory behind")
    func plateau() throws {
        let codecs = DeflateCodecs()
        var residues: [Int] = []
        for round in 0..<5 {
            var connections: [Connection] = []
            for index in 0..<10_000 {
                let connection = Connection(.plain, codecs)
                try connection.talk(Self.frame)
                // Every hundredth leaves in the middle of a message, with a decompressor in hand.
                if index % 100 == 0 { try connection.talk(ClientBytes.header(0x42, length: 9000) + Talk.pattern(0)) }
                connections.append(connection)
            }
            #expect(connections.allSatisfy { $0.heard == 1 })
            #expect(connections.allSatisfy { $0.reader.codecBytes == 0 && $0.compressor.codecBytes == 0 })
            connections.removeAll()
            residues.append(Self.residentBytes())
            #expect(codecs.idleBytes == 39_928 + 169_792, "round \(round)")
        }
        // A leak would leave 78 MB a round; what tests beside this one hold is less.
        #expect(residues[4] - residues[1] < 64 << 20, "\(residues)")
    }

    @Test("A decompressor is given back only to be kept for the next, no more than four of them")
    func idleInflaters() throws {
        let codecs = DeflateCodecs()
        var connections = (0..<20).map { _ in Connection(.plain, codecs) }
        let start = ClientBytes.frame(0x42, DeflateBytes.stored(DeflateVector.noise(5000)).dropLast(1) + [])
        for connection in connections {
            try connection.talk(start)
            #expect(connection.reader.codecBytes == 39_928)
        }
        #expect(codecs.idleBytes == 0)
        for connection in connections {
            try connection.talk(ClientBytes.frame(0x80, [0]))
            #expect(connection.reader.codecBytes == 0)
        }
        // And the one compressor that all of them used.
        #expect(codecs.idleBytes == 4 * 39_928 + 169_792)
        connections.removeAll()
        #expect(codecs.idleBytes == 4 * 39_928 + 169_792)
    }

    @Test("Connections with context take and free what is stated")
    func owned() throws {
        let codecs = DeflateCodecs()
        var residues: [Int] = []
        for _ in 0..<5 {
            let before = Self.residentBytes()
            var connections: [Connection] = []
            for _ in 0..<1000 {
                let connection = Connection(.keepingContext, codecs)
                try connection.talk(Self.frame)
                connections.append(connection)
            }
            #expect(connections.allSatisfy { $0.reader.codecBytes + $0.compressor.codecBytes == 78_648 })
            if before > 0 { #expect((Self.residentBytes() - before) / 1000 < 150_000) }
            connections.removeAll()
            residues.append(Self.residentBytes())
        }
        // A leak would leave 78 MB a round; what tests beside this one hold is less.
        #expect(residues[4] - residues[1] < 64 << 20, "\(residues)")
        #expect(codecs.idleBytes == 0)
    }
}
