#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A file of `/proc` that stays open, so that it can be read even when the process has no descriptor left.
final class ProcFile: Sendable {
    private static let maxBytes = 8 * 1_024

    private let descriptor: Int32

    /// Fails where there is no such file, as on systems without `/proc`.
    init?(_ path: String) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        self.descriptor = descriptor
    }

    deinit {
        close(self.descriptor)
    }

    /// The file's text as of now, its first 8 KiB at most; nil when it can't be read.
    func read() -> String? {
        var buffer = [UInt8](repeating: 0, count: Self.maxBytes)
        var used = 0
        while used < buffer.count {
            let count = buffer.withUnsafeMutableBytes { bytes in
                pread(self.descriptor, bytes.baseAddress?.advanced(by: used), bytes.count - used, off_t(used))
            }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { return nil }
            guard count > 0 else { break }
            used += count
        }
        return String(decoding: buffer[..<used], as: UTF8.self)
    }
}
