import CSQLite

/// One open database; it is used by one thread at a time.
final class SQLiteDatabase {
    let handle: OpaquePointer
    /// Let go only after the file is closed.
    private let lock: AnyObject

    /// Opens a file that exists; `lock` lives at least as long as the file is open.
    init(path: String, lock: AnyObject) throws(SQLiteFailure) {
        var opened: OpaquePointer?
        let code = sqlite3_open_v2(path, &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nil)
        guard let opened, code == SQLITE_OK else {
            let failure = SQLiteDatabase.failure(opened, code: code)
            sqlite3_close_v2(opened)
            throw failure
        }
        handle = opened
        self.lock = lock
    }

    deinit {
        sqlite3_close_v2(handle)
    }

    /// True between `BEGIN` and its end; some errors end a transaction by themselves.
    var isInTransaction: Bool { sqlite3_get_autocommit(handle) == 0 }

    /// Runs SQL without results.
    func execute(_ sql: String) throws(SQLiteFailure) {
        let code = sqlite3_exec(handle, sql, nil, nil, nil)
        if code != SQLITE_OK { throw failure(code) }
    }

    /// Compiles one statement.
    func prepare(_ sql: String) throws(SQLiteFailure) -> SQLiteStatement {
        try SQLiteStatement(self, sql)
    }

    /// The first column of the first row as an integer; 0 without a row.
    func integer(_ sql: String) throws(SQLiteFailure) -> Int64 {
        let statement = try prepare(sql)
        return try statement.step() ? statement.integer(0) : 0
    }

    /// The first column of all rows as text; nil for what is no text.
    func texts(_ sql: String) throws(SQLiteFailure) -> [String?] {
        let statement = try prepare(sql)
        var found: [String?] = []
        while try statement.step() { found.append(statement.text(0)) }
        return found
    }

    func failure(_ code: Int32) -> SQLiteFailure {
        SQLiteDatabase.failure(handle, code: code)
    }

    private static func failure(_ handle: OpaquePointer?, code: Int32) -> SQLiteFailure {
        let words = handle.flatMap { sqlite3_errmsg($0) } ?? sqlite3_errstr(code)
        // The low byte of an extended code is the primary one.
        return SQLiteFailure(code: code & 0xff, message: words.map { String(cString: $0) } ?? "error \(code)")
    }
}
