internal import ListenerSupport
internal import SidecarCore
import SidecarServer
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Writes audit records (`AUDIT_LOG`).
///
/// A file is opened for each record, so that it can be moved away at any time; records are rare.
final class AuditLog: Sendable {
    /// Nil for standard error.
    private let path: String?
    /// True while the file ends in a part of a line, as a full disk leaves it.
    private let isTorn: Mutex<Bool>

    /// - Throws: Why the file cannot be written.
    init(_ setting: String) throws(SettingsReadError) {
        path = setting == "stderr" ? nil : setting
        isTorn = Mutex(path.map(endsWithinLine) ?? false)
        guard let path else { return }
        let descriptor = openForAppending(path)
        guard descriptor >= 0 else {
            throw SettingsReadError(SystemErrorText.text(of: errno))
        }
        close(descriptor)
    }

    func write(_ record: AuditRecord) {
        let line = record.line(unixMilliseconds: WallClock.unixMilliseconds())
        // On stderr rather than not at all.
        guard let path, append(line, to: path) else { return LineLogHandler.writeToStandardError(line) }
    }

    /// False when not all of it could be written.
    private func append(_ line: [UInt8], to path: String) -> Bool {
        isTorn.withLock { isTorn in
            let descriptor = openForAppending(path)
            guard descriptor >= 0 else { return false }
            defer { close(descriptor) }
            let bytes = isTorn && size(of: descriptor) > 0 ? [UInt8(ascii: "\n")] + line : line
            let count = writeAll(bytes, to: descriptor)
            if count > 0 { isTorn = bytes[count - 1] != UInt8(ascii: "\n") }
            return count == bytes.count
        }
    }
}

// Outside of the type, where `write` means the log's own.

/// A pipe that nobody reads is refused, and one that is full takes nothing: neither may hold up the process.
private func openForAppending(_ path: String) -> CInt {
    open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0o600)
}

/// How many of the bytes were taken.
private func writeAll(_ bytes: [UInt8], to descriptor: CInt) -> Int {
    bytes.withUnsafeBytes { bytes in
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if errno != EINTR {
                break
            }
        }
        return bytes.count - rest.count
    }
}

/// The size of a regular file in bytes; 0 for anything else.
private func size(of descriptor: CInt) -> Int {
    guard let facts = FileFacts(descriptor: descriptor), facts.kind == .regular else { return 0 }
    return facts.size
}

/// True for a file whose last line has no end; false also for a file that cannot be read.
private func endsWithinLine(_ path: String) -> Bool {
    let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    let size = size(of: descriptor)
    var last = UInt8(ascii: "\n")
    guard size > 0, pread(descriptor, &last, 1, off_t(size - 1)) == 1 else { return false }
    return last != UInt8(ascii: "\n")
}
