import CSQLite
import Glibc
import Testing

@testable import DeliveryOutbox

@Suite("Files that versions 1 and 2 wrote")
struct VersionOneTests {
    private let scratch = Scratch()
    private let faults = Faults()

    /// The tables as version 1 made them, with two connections, one of them at its end.
    private static let file = """
        PRAGMA journal_mode = WAL;
        CREATE TABLE connections (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, head BLOB NOT NULL, \
        identity BLOB NOT NULL, opened_at INTEGER NOT NULL, messages_in INTEGER NOT NULL, \
        last_answered INTEGER NOT NULL, close_sequence INTEGER, close_body BLOB, close_at INTEGER) STRICT;
        CREATE TABLE messages (connection INTEGER NOT NULL, sequence INTEGER NOT NULL, is_text INTEGER NOT NULL, \
        payload BLOB NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (connection, sequence)) STRICT;
        PRAGMA application_id = 1935962991; PRAGMA user_version = 1;
        INSERT INTO connections VALUES (3, 'a', CAST('POST / HTTP/1.1' AS BLOB), CAST('ce-userid: 7' AS BLOB), 5, 2, 2, \
        NULL, NULL, NULL);
        INSERT INTO connections VALUES (4, 'b', x'00ff', x'', 6, 0, 1, 2, CAST('{}' AS BLOB), 9);
        INSERT INTO messages VALUES (3, 3, 1, CAST('three' AS BLOB), 30), (3, 4, 0, x'00', 40);
        """

    private let expected = [
        RecoveredConnection(
            id: "a",
            context: Array("POST / HTTP/1.1".utf8),
            identity: Array("ce-userid: 7".utf8),
            openedAt: 5,
            messagesIn: 2,
            lastAnswered: 2,
            messages: [
                RecoveredMessage(sequence: 3, format: 1, payload: Array("three".utf8), at: 30),
                RecoveredMessage(sequence: 4, format: 0, payload: [0], at: 40),
            ],
            close: nil
        ),
        RecoveredConnection(
            id: "b",
            context: [0, 255],
            identity: [],
            openedAt: 6,
            messagesIn: 0,
            lastAnswered: 1,
            messages: [],
            close: RecoveredClose(sequence: 2, report: Array("{}".utf8), at: 9)
        ),
    ]

    /// The same as version 2 made them, whose columns have the names of today.
    private static let second =
        file
        .replacing("head BLOB", with: "context BLOB").replacing("close_body BLOB", with: "close_report BLOB")
        .replacing("user_version = 1", with: "user_version = 2")

    private func run(_ sql: String) {
        mkdir(scratch.outbox, 0o700)
        var handle: OpaquePointer?
        #expect(sqlite3_open(scratch.database, &handle) == SQLITE_OK)
        #expect(sqlite3_exec(handle, sql, nil, nil, nil) == SQLITE_OK)
        sqlite3_close(handle)
    }

    @Test("All that is in them comes back as it was noted, now and with the next start", arguments: [file, second])
    func recovered(_ file: String) throws {
        run(file)
        #expect(try reopened(scratch, faults) == expected)
        #expect(try reopened(scratch, faults) == expected)
        #expect(faults.sentences.isEmpty)
        #expect(!scratch.names.contains { $0.contains("damaged") })
        // What an earlier version would not take for its own.
        #expect(Scratch.read(scratch.database)[60..<64].elementsEqual([0, 0, 0, 3]))
    }

    @Test("Their connections go on beside new ones")
    func goesOn() throws {
        run(Self.file)
        let outbox = try DeliveryOutbox(scratch, faults)
        #expect(outbox.recover() == expected)
        outbox.answered(id: "a", sequence: 3)
        outbox.identityChanged(id: "a", identity: [2, 1])
        outbox.closing(id: "a", sequence: 5, report: [2, 3], at: 50)
        outbox.finished(id: "b")
        outbox.opened(id: "c", context: [2], identity: [], at: 7)
        #expect(outbox.close())
        let found = try reopened(scratch, faults)
        #expect(found.map(\.id) == ["a", "c"])
        #expect(found.first?.context == expected[0].context && found.first?.identity == [2, 1])
        #expect(found.first?.messages == [expected[0].messages[1]])
        #expect(found.first?.close == RecoveredClose(sequence: 5, report: [2, 3], at: 50))
        #expect(faults.sentences.isEmpty)
    }

    @Test("A process that is killed after it has taken one over leaves all of it")
    func killed() throws {
        run(Self.file)
        let outbox = try DeliveryOutbox(scratch, faults)
        let copy = scratch.copyAsIfKilled()
        outbox.close()
        #expect(try reopened(copy, faults) == expected)
        #expect(faults.sentences.isEmpty)
    }

    @Test("Rows that cannot be right are skipped, as in any file")
    func skipped() throws {
        run(Self.file + "UPDATE connections SET opened_at = -1 WHERE id = 'b';")
        #expect(try reopened(scratch, faults) == [expected[0]])
        #expect(faults.sentences.count == 1)
    }

    @Test(
        "One with other tables is moved aside",
        arguments: ["ALTER TABLE connections ADD COLUMN more BLOB;", "DROP TABLE messages;"]
    )
    func foreign(_ sql: String) throws {
        run(Self.file + sql)
        #expect(try reopened(scratch, faults).isEmpty)
        #expect(faults.sentences.count == 1)
        #expect(scratch.names.contains("outbox.sqlite.damaged-1"))
    }
}
