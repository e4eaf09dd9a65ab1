internal import ListenerSupport
public import SidecarCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The files and directories that the settings name.
public enum SettingsFiles {
    /// The files that cannot be used; nothing is created or changed.
    public static func faults(of settings: Settings) -> [FileFault] {
        ServerTLS.faults(of: settings) + [outboxFault(settings), auditFault(settings)].compactMap(\.self)
    }

    private static func outboxFault(_ settings: Settings) -> FileFault? {
        guard let path = settings.outboxDirectory else { return nil }
        return problem(ofDirectory: path).map {
            FileFault(
                variable: "OUTBOX_DIR",
                path: path,
                reason: $0,
                accepted: "a writable directory, or a new one inside a writable directory"
            )
        }
    }

    private static func auditFault(_ settings: Settings) -> FileFault? {
        guard settings.auditLog != "stderr" else { return nil }
        let path = settings.auditLog
        return problem(ofFileToWrite: path).map {
            FileFault(
                variable: "AUDIT_LOG",
                path: path,
                reason: $0,
                accepted: "stderr, or a writable file"
            )
        }
    }

    private static func problem(ofDirectory path: String) -> String? {
        if let facts = FileFacts(path: path) {
            guard facts.kind == .directory else { return "it is not a directory" }
            return access(path, R_OK | W_OK | X_OK) == 0 ? nil : SystemErrorText.text(of: errno)
        }
        return errno == ENOENT ? problem(ofNewEntry: path) : SystemErrorText.text(of: errno)
    }

    private static func problem(ofFileToWrite path: String) -> String? {
        if let facts = FileFacts(path: path) {
            guard facts.kind != .directory else { return "it is a directory" }
            return access(path, W_OK) == 0 ? nil : SystemErrorText.text(of: errno)
        }
        return errno == ENOENT ? problem(ofNewEntry: path) : SystemErrorText.text(of: errno)
    }

    /// Why a file cannot be created at this path.
    private static func problem(ofNewEntry path: String) -> String? {
        guard !path.isEmpty else { return "it has no name" }
        let parent = directory(of: path)
        guard let facts = FileFacts(path: parent) else {
            return "its parent directory: \(SystemErrorText.text(of: errno))"
        }
        guard facts.kind == .directory else { return "its parent is not a directory" }
        return access(parent, W_OK | X_OK) == 0 ? nil : "its parent directory: \(SystemErrorText.text(of: errno))"
    }

    /// The directory part of a path.
    static func directory(of path: String) -> String {
        var rest = path[...]
        while rest.count > 1, rest.hasSuffix("/") { rest.removeLast() }
        guard let slash = rest.lastIndex(of: "/") else { return "." }
        return slash == rest.startIndex ? "/" : String(rest[..<slash])
    }

    /// Why a file cannot be read from its beginning to its end; nil when it can.
    static func problem(ofFileToRead path: String) -> String? {
        guard let facts = FileFacts(path: path) else { return SystemErrorText.text(of: errno) }
        // Reading a pipe would block until a process writes into it.
        guard facts.kind == .regular else { return "it is not a regular file" }
        return access(path, R_OK) == 0 ? nil : SystemErrorText.text(of: errno)
    }
}
