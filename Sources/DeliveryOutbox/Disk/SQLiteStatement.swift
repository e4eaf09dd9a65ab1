import CSQLite

/// A compiled statement of one database.
final class SQLiteStatement {
    private let database: SQLiteDatabase
    private let handle: OpaquePointer

    init(_ database: SQLiteDatabase, _ sql: String) throws(SQLiteFailure) {
        var prepared: OpaquePointer?
        let code = sqlite3_prepare_v3(
            database.handle,
            sql,
            -1,
            UInt32(SQLITE_PREPARE_PERSISTENT),
            &prepared,
            nil
        )
        guard let prepared, code == SQLITE_OK else { throw database.failure(code) }
        self.database = database
        handle = prepared
    }

    deinit {
        sqlite3_finalize(handle)
    }

    /// Runs the statement from the beginning, past its last row.
    func run(_ values: SQLiteValue...) throws(SQLiteFailure) {
        defer { clear() }
        try bind(values)
        while try step() {}
    }

    /// The first column of the first row as an integer, or nil without a row.
    func first(_ values: SQLiteValue...) throws(SQLiteFailure) -> Int64? {
        defer { clear() }
        try bind(values)
        return try step() ? integer(0) : nil
    }

    /// Goes to the next row; false when there is none.
    func step() throws(SQLiteFailure) -> Bool {
        switch sqlite3_step(handle) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        case let code: throw database.failure(code)
        }
    }

    /// Ends the statement and frees the copies of its values, which may be large.
    private func clear() {
        sqlite3_reset(handle)
        sqlite3_clear_bindings(handle)
    }

    private func bind(_ values: [SQLiteValue]) throws(SQLiteFailure) {
        sqlite3_reset(handle)
        for (offset, value) in values.enumerated() {
            let index = Int32(offset + 1)
            let code: Int32
            switch value {
            case .null:
                code = sqlite3_bind_null(handle, index)
            case .integer(let number):
                code = sqlite3_bind_int64(handle, index, number)
            case .text(var string):
                code = string.withUTF8 { bytes in
                    bytes.withMemoryRebound(to: CChar.self) { characters in
                        // A nil pointer would bind NULL.
                        guard let base = characters.baseAddress, let count = Int32(exactly: characters.count) else {
                            return characters.isEmpty ? csqlite_bind_text(handle, index, "", 0) : SQLITE_TOOBIG
                        }
                        return csqlite_bind_text(handle, index, base, count)
                    }
                }
            case .blob(let array):
                code = array.withUnsafeBytes { bytes in
                    guard let base = bytes.baseAddress, let count = Int32(exactly: bytes.count), count > 0 else {
                        return bytes.isEmpty ? sqlite3_bind_zeroblob(handle, index, 0) : SQLITE_TOOBIG
                    }
                    return csqlite_bind_blob(handle, index, base, count)
                }
            }
            if code != SQLITE_OK { throw database.failure(code) }
        }
    }

    // MARK: - Columns of the row

    /// True if a column is NULL.
    func isNull(_ column: Int32) -> Bool { sqlite3_column_type(handle, column) == SQLITE_NULL }

    /// A column as an integer; 0 for what is none.
    func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }

    /// A column's bytes, or nil if it is no blob.
    func blob(_ column: Int32) -> [UInt8]? {
        guard sqlite3_column_type(handle, column) == SQLITE_BLOB else { return nil }
        // The pointer is asked for before the length, as SQLite's manual says.
        let base = sqlite3_column_blob(handle, column)
        let count = Int(sqlite3_column_bytes(handle, column))
        guard let base, count > 0 else { return [] }
        return [UInt8](UnsafeRawBufferPointer(start: base, count: count))
    }

    /// A column as a string, or nil if it is not valid UTF-8 text.
    func text(_ column: Int32) -> String? {
        guard sqlite3_column_type(handle, column) == SQLITE_TEXT else { return nil }
        let base = sqlite3_column_text(handle, column)
        let count = Int(sqlite3_column_bytes(handle, column))
        guard let base, count > 0 else { return "" }
        return String(validating: UnsafeBufferPointer(start: base, count: count), as: UTF8.self)
    }
}
