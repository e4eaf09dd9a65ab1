#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// What the system knows of a file without reading it.
///
/// It is asked here, in a module that sees no Foundation: where that is in sight too, the compiler sometimes takes the
/// system's `stat` for CoreFoundation's and refuses it.
public struct FileFacts: Sendable, Equatable {
    /// What kind of file it is.
    public enum Kind: Sendable, Equatable {
        case regular, directory, pipe, other
    }

    /// What kind of file it is.
    public let kind: Kind
    /// Its length in bytes.
    public let size: Int
    private let inode: UInt64
    private let seconds: Int
    private let nanoseconds: Int

    /// The facts of what stands at a path; nil when there is nothing or it may not be seen, and `errno` says which.
    public init?(path: String) {
        var facts = stat()
        guard stat(path, &facts) == 0 else { return nil }
        self.init(facts)
    }

    /// The facts of an open file; nil when it is none.
    public init?(descriptor: CInt) {
        var facts = stat()
        guard fstat(descriptor, &facts) == 0 else { return nil }
        self.init(facts)
    }

    private init(_ facts: stat) {
        switch facts.st_mode & S_IFMT {
        case S_IFREG: kind = .regular
        case S_IFDIR: kind = .directory
        case S_IFIFO: kind = .pipe
        default: kind = .other
        }
        size = Int(clamping: facts.st_size)
        inode = UInt64(clamping: facts.st_ino)
        #if canImport(Darwin)
            let time = facts.st_mtimespec
        #else
            let time = facts.st_mtim
        #endif
        seconds = Int(clamping: time.tv_sec)
        nanoseconds = Int(clamping: time.tv_nsec)
    }
}
