import CSQLite

/// What SQLite said when it refused something.
struct SQLiteFailure: Error, Equatable {
    /// The primary result code.
    var code: Int32
    /// SQLite's own words.
    var message: String

    /// True if the file is at fault, so that another file would do.
    var meansDamage: Bool {
        switch code {
        // SQLITE_ERROR while opening is a schema that cannot be read or is not ours.
        case SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_ERROR, SQLITE_TOOBIG, SQLITE_MISMATCH, SQLITE_FORMAT: true
        default: false
        }
    }

    /// True if only this row was refused, so that the same row would be refused again.
    var concernsOneRow: Bool {
        switch code {
        case SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_TOOBIG, SQLITE_RANGE: true
        default: false
        }
    }
}
