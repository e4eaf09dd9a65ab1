import CSQLite

/// Brings batches of records into the file, each in one transaction; it is used by one thread at a time.
final class OutboxWriter {
    private let database: SQLiteDatabase
    private let begin: SQLiteStatement
    private let commit: SQLiteStatement
    private let insertConnection: SQLiteStatement
    private let findConnection: SQLiteStatement
    private let updateConnection: SQLiteStatement
    private let updateIdentity: SQLiteStatement
    private let updateClose: SQLiteStatement
    private let deleteConnection: SQLiteStatement
    private let deleteMessages: SQLiteStatement
    private let insertMessage: SQLiteStatement
    private let deleteMessage: SQLiteStatement

    /// Rows that the file refused for what they are, since the outbox was opened.
    private(set) var refusedRows = 0

    /// False makes the next writes fail after they have done their work, for tests.
    var allowsWriting = true

    /// Compiles all statements.
    init(_ database: SQLiteDatabase) throws(SQLiteFailure) {
        self.database = database
        begin = try database.prepare("BEGIN IMMEDIATE")
        commit = try database.prepare("COMMIT")
        insertConnection = try database.prepare(
            """
            INSERT INTO connections (key, id, context, identity, opened_at, messages_in, last_answered) \
            VALUES (?1, ?2, ?3, ?4, ?5, 0, 0) ON CONFLICT (id) DO NOTHING
            """
        )
        findConnection = try database.prepare("SELECT key FROM connections WHERE id = ?1")
        // The bound keeps a sum within 64 bits, whatever the file said.
        updateConnection = try database.prepare(
            """
            UPDATE connections SET messages_in = min(messages_in, 4611686018427387904) + ?2, \
            last_answered = max(last_answered, ?3) WHERE key = ?1
            """
        )
        updateIdentity = try database.prepare("UPDATE connections SET identity = ?2 WHERE key = ?1")
        updateClose = try database.prepare(
            "UPDATE connections SET close_sequence = ?2, close_report = ?3, close_at = ?4 WHERE key = ?1"
        )
        deleteConnection = try database.prepare("DELETE FROM connections WHERE key = ?1")
        deleteMessages = try database.prepare("DELETE FROM messages WHERE connection = ?1")
        insertMessage = try database.prepare(
            """
            INSERT OR REPLACE INTO messages (connection, sequence, format, payload, at, label) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)
            """
        )
        deleteMessage = try database.prepare("DELETE FROM messages WHERE connection = ?1 AND sequence = ?2")
    }

    /// Writes all of a batch or nothing.
    func write(_ batch: borrowing PendingBatch) throws(SQLiteFailure) {
        do throws(SQLiteFailure) {
            try begin.run()
            for (id, connection) in batch.connections {
                do throws(SQLiteFailure) {
                    try write(id, connection, batch.messages)
                } catch {
                    // Tried again it would be refused again, and hold up everything else for ever.
                    guard error.concernsOneRow else { throw error }
                    refusedRows += 1
                }
            }
            if !allowsWriting { throw SQLiteFailure(code: SQLITE_FULL, message: "database or disk is full") }
            try commit.run()
        } catch {
            if database.isInTransaction { try? database.execute("ROLLBACK") }
            throw error
        }
    }

    private func write(
        _ id: String,
        _ connection: PendingConnection,
        _ messages: borrowing PendingMessages
    ) throws(SQLiteFailure) {
        if connection.forgetsFirst, let key = try findConnection.first(.text(id)) {
            try deleteMessages.run(.integer(key))
            try deleteConnection.run(.integer(key))
        }
        if let opening = connection.opening {
            try insertConnection.run(
                .integer(opening.key),
                .text(id),
                .blob(opening.context),
                .blob(opening.identity),
                .integer(opening.at)
            )
        } else if connection.holdsNothingMore {
            return
        }
        guard let key = try findConnection.first(.text(id)) else { return }
        if connection.messagesIn > 0 || connection.lastAnswered > 0 {
            try updateConnection.run(
                .integer(key),
                .integer(Int64(connection.messagesIn)),
                .integer(Int64(clamping: connection.lastAnswered))
            )
        }
        if let identity = connection.identity { try updateIdentity.run(.integer(key), .blob(identity)) }
        if let close = connection.close {
            try updateClose.run(
                .integer(key),
                .integer(Int64(clamping: close.sequence)),
                .blob(close.report),
                .integer(close.at)
            )
        }
        for sequence in connection.answered {
            try deleteMessage.run(.integer(key), .integer(Int64(clamping: sequence)))
        }
        try messages.forEach(in: connection.messages) { (message) throws(SQLiteFailure) in
            try insertMessage.run(
                .integer(key),
                .integer(Int64(clamping: message.sequence)),
                .integer(Int64(message.format)),
                .blob(message.payload),
                .integer(message.at),
                .blob(message.label)
            )
        }
    }
}
