/// Reads what an earlier process left, and trusts none of it.
enum OutboxReader {
    /// What was found.
    struct Result: Sendable {
        /// Connections in the order of their opening.
        var connections: [RecoveredConnection] = []
        /// A key that nothing in the file uses.
        var nextKey: Int64 = 1
        /// How many rows were skipped.
        var skipped = 0
        /// Why the first of them was.
        var reason = ""

        fileprivate mutating func skip(_ reason: String) {
            if skipped == 0 { self.reason = reason }
            skipped += 1
        }
    }

    /// Keys above leave no room to count on.
    private static let highestKey = Int64(1) << 62

    /// Reads all rows; those that cannot be right are skipped.
    static func read(_ database: SQLiteDatabase, limits: OutboxLimits) throws(SQLiteFailure) -> Result {
        var result = Result()
        var keys: [Int64] = []
        var connections: [Int64: RecoveredConnection] = [:]
        try readConnections(database, limits, into: &connections, &keys, &result)
        try readMessages(database, limits, into: &connections, &result)
        for key in keys {
            guard var connection = connections[key] else { continue }
            connection.messages.sort { $0.sequence < $1.sequence }
            var unique: [RecoveredMessage] = []
            unique.reserveCapacity(connection.messages.count)
            for message in connection.messages {
                if unique.last?.sequence == message.sequence {
                    result.skip("a message is there twice")
                } else {
                    unique.append(message)
                }
            }
            connection.messages = unique
            result.connections.append(connection)
        }
        return result
    }

    /// Lengths are asked for first, so that a huge value is never brought into memory.
    private static func bounded(_ column: String, _ limit: Int) -> String {
        "CASE WHEN length(\(column)) <= \(limit) THEN \(column) END"
    }

    private static func readConnections(
        _ database: SQLiteDatabase,
        _ limits: OutboxLimits,
        into connections: inout [Int64: RecoveredConnection],
        _ keys: inout [Int64],
        _ result: inout Result
    ) throws(SQLiteFailure) {
        // NOT INDEXED, here and below: the quick check has not compared the indexes with the tables.
        let rows = try database.prepare(
            """
            SELECT key, \(bounded("id", limits.idBytes)), \(bounded("context", limits.fieldBytes)), \
            \(bounded("identity", limits.fieldBytes)), opened_at, messages_in, last_answered, close_sequence, \
            \(bounded("close_report", limits.fieldBytes)), close_at FROM connections NOT INDEXED ORDER BY key
            """
        )
        var ids: Set<String> = []
        while try rows.step() {
            let key = rows.integer(0)
            guard key > 0, key <= highestKey else {
                result.skip("a connection has an impossible key")
                continue
            }
            result.nextKey = max(result.nextKey, key + 1)
            guard let id = rows.text(1), !id.isEmpty, id.utf8.count <= limits.idBytes else {
                result.skip("a connection has no valid id")
                continue
            }
            guard let context = rows.blob(2), let identity = rows.blob(3) else {
                result.skip("a connection's context or identity is too long")
                continue
            }
            guard rows.integer(4) >= 0, let messagesIn = Int(exactly: rows.integer(5)), messagesIn >= 0,
                let lastAnswered = UInt64(exactly: rows.integer(6))
            else {
                result.skip("a connection has a negative number")
                continue
            }
            guard ids.insert(id).inserted else {
                result.skip("a connection is there twice")
                continue
            }
            connections[key] = RecoveredConnection(
                id: id,
                context: context,
                identity: identity,
                openedAt: rows.integer(4),
                messagesIn: messagesIn,
                lastAnswered: lastAnswered,
                messages: [],
                close: close(rows, &result)
            )
            keys.append(key)
        }
    }

    /// The end of a connection; one that cannot be right is skipped, and the connection kept without it.
    private static func close(_ row: SQLiteStatement, _ result: inout Result) -> RecoveredClose? {
        if row.isNull(7), row.isNull(8), row.isNull(9) { return nil }
        guard !row.isNull(7), !row.isNull(9), let sequence = UInt64(exactly: row.integer(7)), row.integer(9) >= 0,
            let report = row.blob(8)
        else {
            result.skip("a close event is incomplete, negative or too long")
            return nil
        }
        return RecoveredClose(sequence: sequence, report: report, at: row.integer(9))
    }

    private static func readMessages(
        _ database: SQLiteDatabase,
        _ limits: OutboxLimits,
        into connections: inout [Int64: RecoveredConnection],
        _ result: inout Result
    ) throws(SQLiteFailure) {
        let rows = try database.prepare(
            """
            SELECT connection, sequence, format, \(bounded("payload", limits.fieldBytes)), at, \
            \(bounded("label", limits.fieldBytes)) FROM messages NOT INDEXED
            """
        )
        while try rows.step() {
            let key = rows.integer(0)
            // The key of a message without connection must not be given to a new connection.
            if key > 0, key <= highestKey { result.nextKey = max(result.nextKey, key + 1) }
            guard connections[key] != nil else {
                result.skip("a message belongs to no connection")
                continue
            }
            guard let sequence = UInt64(exactly: rows.integer(1)), rows.integer(4) >= 0 else {
                result.skip("a message has a negative number")
                continue
            }
            guard let format = UInt8(exactly: rows.integer(2)) else {
                result.skip("a message has an impossible format")
                continue
            }
            guard let payload = rows.blob(3), let label = rows.blob(5) else {
                result.skip("a message is too long")
                continue
            }
            connections[key]?.messages.append(
                RecoveredMessage(
                    sequence: sequence,
                    format: format,
                    label: label,
                    payload: payload,
                    at: rows.integer(4)
                )
            )
        }
    }
}
