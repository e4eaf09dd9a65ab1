import CSQLite

/// Earlier versions of the file, which are brought up to date.
///
/// The blobs of version 1 held parts of requests: the header lines that each of them began with, and the body of the close
/// event. The columns were called after that. The blobs stay as they are; who reads them tells the two forms apart.
/// Messages of version 2 were text (1) or binary (0), and nothing else.
extension OutboxFile {
    /// The oldest version that can be taken over.
    static let oldestVersion: UInt32 = 1

    private static let connectionsOfVersion1 = """
        CREATE TABLE connections (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, head BLOB NOT NULL, \
        identity BLOB NOT NULL, opened_at INTEGER NOT NULL, messages_in INTEGER NOT NULL, \
        last_answered INTEGER NOT NULL, close_sequence INTEGER, close_body BLOB, close_at INTEGER) STRICT
        """
    private static let messagesOfVersion2 = """
        CREATE TABLE messages (connection INTEGER NOT NULL, sequence INTEGER NOT NULL, is_text INTEGER NOT NULL, \
        payload BLOB NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (connection, sequence)) STRICT
        """

    /// The SQL of the tables of a version, by name; nil for an unknown version.
    static func tables(ofVersion version: UInt32) -> [String?]? {
        switch version {
        case 1: [connectionsOfVersion1, messagesOfVersion2]
        case 2: [connections, messagesOfVersion2]
        case self.version: [connections, messages]
        default: nil
        }
    }

    /// Makes the file one of this version, all of it or nothing: an earlier Sidesocket must not send what is in it now.
    static func migrate(_ database: SQLiteDatabase, from found: UInt32) throws(SQLiteFailure) {
        if found == version { return }
        let columns = """
            ALTER TABLE connections RENAME COLUMN head TO context;
            ALTER TABLE connections RENAME COLUMN close_body TO close_report;
            """
        try database.execute(
            """
            BEGIN IMMEDIATE; \(found == 1 ? columns : "")
            ALTER TABLE messages RENAME COLUMN is_text TO format;
            ALTER TABLE messages ADD COLUMN label BLOB NOT NULL DEFAULT x'';
            PRAGMA user_version = \(version);
            """
        )
        // Else the next start would take the file for a foreign one.
        guard try tables(database) == tables(ofVersion: version) else {
            try database.execute("ROLLBACK")
            throw SQLiteFailure(code: SQLITE_MISUSE, message: "its tables cannot be brought up to date")
        }
        try database.execute("COMMIT")
    }
}
