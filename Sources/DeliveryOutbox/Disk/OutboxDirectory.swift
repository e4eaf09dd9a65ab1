#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The directory of an outbox, locked for as long as this lives, and what is done to its files as files.
final class OutboxDirectory: Sendable {
    /// What SQLite puts next to a database.
    static let companions = ["-wal", "-shm", "-journal"]

    /// Where it is, as it was given.
    let path: String
    /// The database.
    let file: String
    private let lock: Int32

    /// Makes the directory if it is missing, and takes the lock.
    init(_ path: String) throws(OutboxError) {
        func unusable(_ what: String, _ code: Int32) -> OutboxError {
            .unusable(directory: path, reason: "\(what): \(OutboxDirectory.words(code)).")
        }
        guard !path.isEmpty, !path.utf8.contains(0) else {
            throw .unusable(directory: path, reason: "it has no valid name.")
        }
        if mkdir(path, 0o700) != 0, errno != EEXIST { throw unusable("it cannot be made", errno) }
        // O_NONBLOCK: a named pipe at this path must not hold up the start.
        let descriptor = open(
            path + "/lock",
            O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
            0o600
        )
        guard descriptor >= 0 else { throw unusable("the file lock in it cannot be opened", errno) }
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            let code = errno
            if code == EINTR { continue }
            close(descriptor)
            if code == EWOULDBLOCK { throw .inUse(directory: path) }
            throw unusable("the file lock in it cannot be locked", code)
        }
        self.path = path
        file = path + "/outbox.sqlite"
        lock = descriptor
    }

    deinit {
        close(lock)
    }

    // MARK: - The file before SQLite opens it

    /// What is at the path of the database.
    enum Found: Equatable {
        /// A file that may be ours; an empty or a new one included.
        case usable
        /// Something else, and the words for it.
        case foreign(String)
    }

    /// Looks at the first bytes of the file, and makes it if there is none.
    ///
    /// SQLite is not asked, because it would write to another program's database and drop the log of an empty one.
    func inspect(applicationID: UInt32, versions: ClosedRange<UInt32>) throws(OutboxError) -> Found {
        var status = stat()
        if lstat(file, &status) == 0 {
            guard status.st_mode & S_IFMT == S_IFREG else { return .foreign("is not a regular file") }
        } else if errno != ENOENT {
            throw unusable("outbox.sqlite cannot be examined", errno)
        }
        for companion in Self.companions where lstat(file + companion, &status) == 0 {
            guard status.st_mode & S_IFMT == S_IFREG else { return .foreign("has a log that is not a regular file") }
        }
        let descriptor = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o600)
        guard descriptor >= 0 else { throw unusable("outbox.sqlite cannot be opened", errno) }
        defer { close(descriptor) }
        let header = try readHeader(descriptor)
        if header.isEmpty {
            return hasLog ? .foreign("is empty but has a log") : .usable
        }
        guard header.count == Self.headerBytes, header.starts(with: Self.magic) else {
            return .foreign("is not a SQLite database")
        }
        // SQLite would fill a cut last page with zeros and call it whole; with a log, the log has that page.
        // A page size of 1 stands for 65536.
        let pageSize = max(512, number(header, at: 16, count: 2) == 1 ? 65_536 : Int(number(header, at: 16, count: 2)))
        guard fstat(descriptor, &status) == 0, hasLog || Int(status.st_size) % pageSize == 0 else {
            return .foreign("has been cut off")
        }
        guard number(header, at: 68) == applicationID else { return .foreign("is a database of another program") }
        guard versions.contains(number(header, at: 60)) else { return .foreign("has an unknown version") }
        // Only this user may read the messages, even in a file that was restored from a copy.
        _ = fchmod(descriptor, 0o600)
        return .usable
    }

    /// Gives the file and its companions a name that is free, and returns it.
    func moveAside() throws(OutboxError) -> String {
        for number in 1...9_999 {
            let name = "\(file).damaged-\(number)"
            if ([""] + Self.companions).contains(where: { exists(name + $0) }) { continue }
            for companion in [""] + Self.companions where exists(file + companion) {
                if rename(file + companion, name + companion) != 0 {
                    throw unusable("the damaged outbox.sqlite cannot be moved aside", errno)
                }
            }
            return "outbox.sqlite.damaged-\(number)"
        }
        throw .unusable(directory: path, reason: "it holds too many damaged files.")
    }

    /// An error about this directory.
    func unusable(_ what: String) -> OutboxError {
        .unusable(directory: path, reason: "\(what).")
    }

    private static let headerBytes = 100
    private static let magic = Array("SQLite format 3\0".utf8)

    private var hasLog: Bool {
        ["-wal", "-journal"].contains { companion in
            var status = stat()
            return lstat(file + companion, &status) == 0 && status.st_size > 0
        }
    }

    private func exists(_ path: String) -> Bool {
        var status = stat()
        // What cannot be examined is taken for something, so that nothing is ever replaced.
        return lstat(path, &status) == 0 || errno != ENOENT
    }

    private func readHeader(_ descriptor: Int32) throws(OutboxError) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: Self.headerBytes)
        while true {
            let count = buffer.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, 0) }
            if count >= 0 { return Array(buffer.prefix(count)) }
            if errno != EINTR { throw unusable("outbox.sqlite cannot be read", errno) }
        }
    }

    private func number(_ header: [UInt8], at offset: Int, count: Int = 4) -> UInt32 {
        header.dropFirst(offset).prefix(count).reduce(0) { $0 << 8 | UInt32($1) }
    }

    private func unusable(_ what: String, _ code: Int32) -> OutboxError {
        unusable("\(what): \(Self.words(code))")
    }

    private static func words(_ code: Int32) -> String {
        guard let message = strerror(code) else { return "error \(code)" }
        return String(cString: message)
    }
}
