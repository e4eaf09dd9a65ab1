import CSQLite

/// Opens the database of an outbox.
enum OutboxFile {
    /// "sdso", so that no other program's database is taken for ours.
    static let applicationID: UInt32 = 0x7364_736f
    /// The version of the tables below, and of what is in their blobs.
    static let version: UInt32 = 3

    static let connections = """
        CREATE TABLE connections (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, context BLOB NOT NULL, \
        identity BLOB NOT NULL, opened_at INTEGER NOT NULL, messages_in INTEGER NOT NULL, \
        last_answered INTEGER NOT NULL, close_sequence INTEGER, close_report BLOB, close_at INTEGER) STRICT
        """
    static let messages = """
        CREATE TABLE messages (connection INTEGER NOT NULL, sequence INTEGER NOT NULL, format INTEGER NOT NULL, \
        payload BLOB NOT NULL, at INTEGER NOT NULL, label BLOB NOT NULL DEFAULT x'', \
        PRIMARY KEY (connection, sequence)) STRICT
        """

    /// Opens the file of a directory; what is no outbox is moved aside, with a sentence, and a new one begun.
    static func open(
        _ directory: OutboxDirectory,
        limits: OutboxLimits,
        onFault: (String) -> Void
    ) throws(OutboxError) -> (database: SQLiteDatabase, recovered: OutboxReader.Result, faults: Int) {
        var faults = 0
        // The second round finds no file; a third would mean that someone keeps putting one there.
        for _ in 1...3 {
            let problem: String
            switch try directory.inspect(applicationID: applicationID, versions: oldestVersion...version) {
            case .foreign(let words):
                problem = words
            case .usable:
                let lost = LogInspection.lostTransactions(in: directory.file + "-wal")
                do {
                    let database = try SQLiteDatabase(path: directory.file, lock: directory)
                    try prepare(database)
                    let recovered = try OutboxReader.read(database, limits: limits)
                    if lost > 0 {
                        faults += 1
                        onFault(
                            "The log of \(directory.file) is damaged; \(lost) writes behind the damage are lost, and what "
                                + "they held is not delivered."
                        )
                    }
                    return (database, recovered, faults)
                } catch {
                    guard error.meansDamage else {
                        throw directory.unusable("outbox.sqlite cannot be opened: \(error.message)")
                    }
                    problem = "is damaged (\(error.message))"
                }
            }
            let name = try directory.moveAside()
            faults += 1
            onFault(
                "The file \(directory.file) \(problem); it was moved to \(name) and a new outbox begun, so what it "
                    + "held is not delivered."
            )
        }
        throw directory.unusable("outbox.sqlite is replaced by something else all the time")
    }

    /// Checks the file, and makes the tables in an empty one.
    private static func prepare(_ database: SQLiteDatabase) throws(SQLiteFailure) {
        // EXCLUSIVE keeps the index of the log on the heap: no shared memory that a full disk turns into SIGBUS.
        try database.execute(
            """
            PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
            PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;
            """
        )
        if try tables(database).isEmpty, try database.integer("PRAGMA user_version") == 0 {
            // All of it or nothing: a process killed here leaves an empty file.
            try database.execute(
                """
                BEGIN IMMEDIATE; \(connections); \(messages);
                PRAGMA application_id = \(applicationID); PRAGMA user_version = \(version); COMMIT;
                """
            )
        }
        let found = UInt32(clamping: try database.integer("PRAGMA user_version"))
        // A trigger or a view would run code that is not ours.
        guard let expected = tables(ofVersion: found), try tables(database) == expected else {
            throw SQLiteFailure(code: SQLITE_CORRUPT, message: "its tables are not Sidesocket's")
        }
        let check = try database.texts("PRAGMA quick_check(1)")
        guard check == ["ok"] else {
            throw SQLiteFailure(code: SQLITE_CORRUPT, message: (check.first ?? nil) ?? "it fails the check")
        }
        try migrate(database, from: found)
        guard try database.texts("PRAGMA journal_mode = WAL") == ["wal"] else {
            throw SQLiteFailure(code: SQLITE_CANTOPEN, message: "its file system has no write-ahead log")
        }
        try database.execute("PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 16777216;")
    }

    /// The SQL of everything in the file but indexes.
    static func tables(_ database: SQLiteDatabase) throws(SQLiteFailure) -> [String?] {
        try database.texts("SELECT sql FROM sqlite_schema WHERE type <> 'index' ORDER BY name")
    }
}
