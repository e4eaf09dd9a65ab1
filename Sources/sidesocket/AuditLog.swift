internal import SidecarCore

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Writes audit records (`AUDIT_LOG`).
///
/// A file is opened for each record, so that it can be moved away at any time; records are rare.
struct AuditLog: Sendable {
    /// Nil for standard error.
    private let path: String?

    /// - Throws: Why the file cannot be written.
    init(_ setting: String) throws(SettingsReadError) {
        path = setting == "stderr" ? nil : setting
        guard let path else { return }
        let descriptor = Self.open(path)
        guard descriptor >= 0 else {
            throw SettingsReadError(strerror(errno).map { String(cString: $0) } ?? "error \(errno)")
        }
        close(descriptor)
    }

    func write(_ record: AuditRecord) {
        let now = LogTime.now()
        let line = record.line(unixMilliseconds: Int64(now.secondsSince1970) * 1000 + Int64(now.milliseconds))
        guard let path else { return LineLogHandler.writeToStandardError(line) }
        let descriptor = Self.open(path)
        guard descriptor >= 0 else {
            // Rather in the wrong place than nowhere.
            return LineLogHandler.writeToStandardError(line)
        }
        let written = line.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if written != line.count { LineLogHandler.writeToStandardError(line) }
        close(descriptor)
    }

    private static func open(_ path: String) -> Int32 {
        Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o600)
    }
}
