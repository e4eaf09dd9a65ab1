import CSQLite

/// Version 1 of the file.
///
/// Its blobs held parts of requests: the header lines that each of them began with, and the body of the close event. The
/// columns were called after that. The blobs stay as they are; who reads them tells the two forms apart.
extension OutboxFile {
    /// The oldest version that can be taken over.
    static let oldestVersion: UInt32 = 1

    static let connectionsOfVersion1 = """
        CREATE TABLE connections (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, head BLOB NOT NULL, \
        identity BLOB NOT NULL, opened_at INTEGER NOT NULL, messages_in INTEGER NOT NULL, \
        last_answered INTEGER NOT NULL, close_sequence INTEGER, close_body BLOB, close_at INTEGER) STRICT
        """

    /// Makes the file one of this version, all of it or nothing: an earlier Sidesocket must not send what is in it now.
    static func migrateFromVersion1(_ database: SQLiteDatabase) throws(SQLiteFailure) {
        try database.execute(
            """
            BEGIN IMMEDIATE; ALTER TABLE connections RENAME COLUMN head TO context;
            ALTER TABLE connections RENAME COLUMN close_body TO close_report; PRAGMA user_version = \(version);
            """
        )
        // Else the next start would take the file for a foreign one.
        guard try tables(database) == [connections, messages] else {
            try database.execute("ROLLBACK")
            throw SQLiteFailure(code: SQLITE_MISUSE, message: "its tables cannot be brought up to date")
        }
        try database.execute("COMMIT")
    }
}
