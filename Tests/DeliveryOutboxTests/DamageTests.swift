import CSQLite
import Glibc
import TestSupport
import Testing

@testable import DeliveryOutbox

@Suite("Files that are not what they should be")
struct DamageTests {
    private let scratch = Scratch()
    private let faults = Faults()

    /// An outbox with thirty connections, closed.
    private func fill(_ scratch: Scratch) throws {
        let outbox = try DeliveryOutbox(scratch)
        for n in 0..<30 {
            outbox.opened(id: "c\(n)", context: [UInt8](repeating: 1, count: 900), identity: [], at: 1)
            outbox.accepted(id: "c\(n)", sequence: 2, format: 1, payload: [UInt8](repeating: 2, count: 900), at: 1)
        }
        outbox.close()
    }

    /// Runs SQL on the closed database, as another program would.
    private func edit(_ sql: String) {
        var handle: OpaquePointer?
        #expect(sqlite3_open(scratch.database, &handle) == SQLITE_OK)
        #expect(sqlite3_exec(handle, sql, nil, nil, nil) == SQLITE_OK)
        sqlite3_close(handle)
    }

    private func expectMovedAside(_ original: [UInt8]? = nil) throws {
        let outbox = try DeliveryOutbox(scratch, faults)
        #expect(outbox.recover().isEmpty)
        #expect(outbox.faults == 1)
        outbox.opened(id: "new", context: [], identity: [], at: 1)
        #expect(outbox.close())
        #expect(faults.sentences.count == 1)
        #expect(faults.sentences.first?.contains("moved to outbox.sqlite.damaged-1") == true)
        #expect(scratch.names.contains("outbox.sqlite.damaged-1"))
        if let original { #expect(Scratch.read(scratch.database + ".damaged-1") == original) }
        #expect(try reopened(scratch, faults).map(\.id) == ["new"])
        #expect(faults.sentences.count == 1)
    }

    @Test("The directory and the files are for the owner alone")
    func modes() throws {
        let outbox = try DeliveryOutbox(scratch)
        outbox.opened(id: "a", context: [], identity: [], at: 1)
        outbox.flush()
        #expect(Scratch.mode(scratch.outbox) == 0o700)
        for name in scratch.names { #expect(Scratch.mode(scratch.outbox + "/" + name) == 0o600, "\(name)") }
        #expect(scratch.names == ["lock", "outbox.sqlite", "outbox.sqlite-wal"])
        outbox.close()
    }

    @Test("What is at the path of the log and is no file is moved aside", arguments: ["-wal", "-journal", "-shm"])
    func foreignLog(companion: String) throws {
        try fill(scratch)
        #expect(mkdir(scratch.database + companion, 0o700) == 0)
        try expectMovedAside()
        #expect(scratch.names.contains("outbox.sqlite.damaged-1" + companion))
    }

    @Test("A log that is damaged in its midst is told of, and what came before is delivered")
    func damagedLog() throws {
        let outbox = try DeliveryOutbox(scratch)
        for n in 0..<20 {
            outbox.opened(id: "c\(n)", context: [UInt8](repeating: 1, count: 900), identity: [], at: 1)
            outbox.flush()
        }
        let whole = Scratch.read(scratch.database + "-wal")
        let intact = scratch.copyAsIfKilled()
        #expect(try reopened(intact, faults).count == 20 && faults.sentences.isEmpty)
        // The last write was in progress when the process was killed.
        let torn = scratch.copyAsIfKilled()
        Scratch.write(whole.dropLast(100), to: torn.database + "-wal")
        #expect(try reopened(torn, faults).count == 19 && faults.sentences.isEmpty)
        for offset in [24, 32 + 24 + 50, whole.count / 2] {
            let damaged = scratch.copyAsIfKilled()
            var bytes = whole
            bytes[offset] ^= 0x10
            Scratch.write(bytes, to: damaged.database + "-wal")
            let told = Faults()
            let left = try reopened(damaged, told)
            #expect(left.count < 20 && (offset < 200) == left.isEmpty)
            #expect(told.sentences.count == 1 && told.sentences.first?.contains("log") == true, "\(offset)")
            #expect(try reopened(damaged, told).count == left.count && told.sentences.count == 1)
        }
        outbox.close()
    }

    @Test("A file cut anywhere is moved aside")
    func torn() throws {
        try fill(scratch)
        let whole = Scratch.read(scratch.database)
        let lengths = [0, 1, 15, 16, 59, 60, 64, 99, 100, 101, 4_095, 4_096, 4_097, 8_192, whole.count - 1]
        for length in lengths + Array(stride(from: 200, to: whole.count, by: 1_531)) {
            let torn = Scratch()
            mkdir(torn.outbox, 0o700)
            Scratch.write(whole.prefix(length), to: torn.database)
            let faults = Faults()
            #expect(try reopened(torn, faults).count == 0, "\(length)")
            #expect(faults.sentences.count == (length == 0 ? 0 : 1), "\(length)")
            #expect(torn.names.contains("outbox.sqlite.damaged-1") == (length > 0))
            #expect(try reopened(torn, faults).count == 0)
            #expect(faults.sentences.count == (length == 0 ? 0 : 1))
        }
    }

    @Test("A log cut anywhere gives what was whole before the cut")
    func tornLog() throws {
        let outbox = try DeliveryOutbox(scratch)
        for n in 0..<20 {
            outbox.opened(id: "c\(n)", context: [UInt8](repeating: 1, count: 900), identity: [], at: 1)
            outbox.flush()
        }
        let (main, log) = (Scratch.read(scratch.database), Scratch.read(scratch.database + "-wal"))
        outbox.close()
        let ids = (0..<20).map { "c\($0)" }
        for length in [0, 1, 31, 32, 33] + Array(stride(from: 100, through: log.count, by: 4_001)) {
            let torn = Scratch()
            mkdir(torn.outbox, 0o700)
            Scratch.write(main, to: torn.database)
            Scratch.write(log.prefix(length), to: torn.database + "-wal")
            let found = try reopened(torn).map(\.id)
            #expect(found == Array(ids.prefix(found.count)))
        }
    }

    @Test("A file with flipped bytes never crashes the start")
    func flipped() throws {
        try fill(scratch)
        let whole = Scratch.read(scratch.database)
        var random = SeededRandom(seed: 7)
        for round in 0..<150 {
            let broken = Scratch()
            mkdir(broken.outbox, 0o700)
            var bytes = whole
            for _ in 0...(round % 8) {
                let limit = round % 2 == 0 ? bytes.count : 4_300
                bytes[Int.random(in: 0..<limit, using: &random)] = UInt8.random(in: .min ... .max, using: &random)
            }
            Scratch.write(bytes, to: broken.database)
            let outbox = try DeliveryOutbox(broken)
            for connection in outbox.recover() {
                for message in connection.messages { outbox.answered(id: connection.id, sequence: message.sequence) }
                outbox.finished(id: connection.id)
            }
            outbox.opened(id: "new", context: [], identity: [], at: 1)
            outbox.close()
        }
    }

    @Test("Another kind of file is moved aside unchanged")
    func foreign() throws {
        mkdir(scratch.outbox, 0o700)
        let text = Array(String(repeating: "This is somebody's thesis. ", count: 400).utf8)
        Scratch.write(text, to: scratch.database)
        try expectMovedAside(text)
    }

    @Test("Another program's database is moved aside unchanged")
    func foreignDatabase() throws {
        mkdir(scratch.outbox, 0o700)
        edit("CREATE TABLE songs (title TEXT); INSERT INTO songs VALUES ('x')")
        try expectMovedAside(Scratch.read(scratch.database))
    }

    @Test("An unknown version is moved aside unchanged", arguments: [0, 1, 2, 4, 99, -1])
    func version(_ version: Int) throws {
        try fill(scratch)
        edit("PRAGMA user_version = \(version)")
        try expectMovedAside(Scratch.read(scratch.database))
    }

    @Test(
        "A database with other tables is moved aside",
        arguments: [
            "DROP TABLE messages", "CREATE TABLE more (x)", "ALTER TABLE messages ADD COLUMN more INTEGER",
            "CREATE TRIGGER t AFTER DELETE ON messages BEGIN DELETE FROM connections; END",
        ]
    )
    func otherTables(_ sql: String) throws {
        try fill(scratch)
        edit(sql)
        try expectMovedAside()
    }

    @Test("A directory, a pipe or a link in place of the file is moved aside")
    func notAFile() throws {
        mkdir(scratch.outbox, 0o700)
        let secret = scratch.path + "/secret"
        Scratch.write([1, 2, 3], to: secret)
        mkdir(scratch.database, 0o700)
        #expect(try reopened(scratch, faults).isEmpty)
        unlink(scratch.database)
        mkfifo(scratch.database, 0o600)
        #expect(try reopened(scratch, faults).isEmpty)
        unlink(scratch.database)
        symlink(secret, scratch.database)
        #expect(try reopened(scratch, faults).isEmpty)
        #expect(faults.sentences.count == 3)
        #expect(scratch.names.filter { $0.contains("damaged") }.map { String($0.suffix(1)) } == ["1", "2", "3"])
        #expect(Scratch.read(secret) == [1, 2, 3])
    }

    @Test("An empty file is begun; with a log next to it, both are kept")
    func empty() throws {
        mkdir(scratch.outbox, 0o700)
        Scratch.write([], to: scratch.database)
        #expect(try reopened(scratch, faults).isEmpty)
        #expect(faults.sentences.isEmpty)
        Scratch.write([], to: scratch.database)
        Scratch.write([1, 2, 3], to: scratch.database + "-wal")
        try expectMovedAside([])
        #expect(Scratch.read(scratch.database + ".damaged-1-wal") == [1, 2, 3])
    }

    @Test("Rows that cannot be right are skipped with one sentence, and the others come back")
    func inconsistent() throws {
        try fill(scratch)
        edit(
            """
            UPDATE connections SET messages_in = -1 WHERE id = 'c0';
            UPDATE connections SET last_answered = -5 WHERE id = 'c1';
            UPDATE connections SET id = '' WHERE id = 'c2';
            UPDATE connections SET id = CAST(x'ff' AS TEXT) WHERE id = 'c3';
            UPDATE connections SET close_sequence = 3 WHERE id = 'c4';
            UPDATE messages SET sequence = -9223372036854775808 WHERE connection = 6;
            UPDATE messages SET format = 256 WHERE connection = 7;
            UPDATE messages SET at = -1 WHERE connection = 8;
            UPDATE messages SET payload = zeroblob(67108865) WHERE connection = 9;
            UPDATE connections SET messages_in = 9223372036854775807, last_answered = 9223372036854775807
                WHERE id = 'c9';
            INSERT INTO messages VALUES (9223372036854775807, 1, 1, x'00', 1, x''), (77, 1, 1, x'00', 1, x'');
            """
        )
        let outbox = try DeliveryOutbox(scratch, faults)
        let found = outbox.recover()
        #expect(found.map(\.id) == (4..<30).map { "c\($0)" })
        #expect(found.map(\.messages.count) == [1, 0, 0, 0, 0] + Array(repeating: 1, count: 21))
        #expect(found.first?.close == nil)
        // Four connections with a message each, a close event, four messages, two without connection.
        #expect(outbox.faults == 15)
        #expect(faults.sentences.count == 1)
        // Numbers at the limit are no obstacle to what follows, and a stray message gets no connection.
        outbox.accepted(id: "c9", sequence: .max, format: 1, payload: [1], at: .max)
        outbox.answered(id: "c9", sequence: .max)
        for n in 0..<90 { outbox.opened(id: "n\(n)", context: [], identity: [], at: .min) }
        #expect(outbox.close())
        #expect(outbox.faults == 15)
        #expect(try reopened(scratch).filter { $0.id.hasPrefix("n") }.allSatisfy { $0.messages.isEmpty })
    }

    // MARK: - Directories

    @Test("A second opener is told that the outbox is in use, until the first closes")
    func secondOpener() throws {
        let first = try DeliveryOutbox(scratch)
        #expect(throws: OutboxError.inUse(directory: scratch.outbox)) { try DeliveryOutbox(scratch) }
        first.close()
        #expect(try reopened(scratch).isEmpty)
    }

    @Test("A directory that cannot be used is an error with its reason")
    func unusable() throws {
        Scratch.write([1], to: scratch.path + "/file")
        mkdir(scratch.path + "/locked", 0o700)
        mkdir(scratch.path + "/locked/lock", 0o700)
        for path in [
            scratch.path + "/file", scratch.path + "/file/x", "/proc/nothing", "", "a\0b", scratch.path + "/locked",
        ] {
            let error = #expect(throws: OutboxError.self) { try DeliveryOutbox(directory: path) { _ in } }
            #expect(error.map { "\($0)".hasPrefix("The outbox directory \(path) cannot be used: ") } == true)
        }
    }

    @Test("A directory without permission is an error, and nothing is moved aside")
    func readOnly() throws {
        try fill(scratch)
        chmod(scratch.outbox, 0o500)
        // Root may write anywhere, but not as somebody else; this is a matter of the thread.
        // The Glibc module has no setfsuid.
        let symbol = try #require(dlsym(nil, "setfsuid"))
        let setfsuid = unsafeBitCast(symbol, to: (@convention(c) (UInt32) -> Int32).self)
        if geteuid() == 0 { _ = setfsuid(65_534) }
        let directory = #expect(throws: OutboxError.self) { try DeliveryOutbox(scratch, faults) }
        _ = setfsuid(geteuid())
        #expect(directory.map { "\($0)".contains("Permission denied") } == true)
        #expect(faults.sentences.isEmpty)
        #expect(scratch.names == ["lock", "outbox.sqlite"])
        chmod(scratch.outbox, 0o700)
    }
}
