import Glibc
import Synchronization

@testable import DeliveryOutbox

/// A directory under /tmp that goes with the test.
final class Scratch: Sendable {
    let path: String

    init() {
        var template = Array("/tmp/outbox-test-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
        }
        path = made ?? "/nonexistent"
    }

    deinit {
        Scratch.remove(path)
    }

    /// Where the outbox is; not the directory itself, so that the outbox makes its own.
    var outbox: String { path + "/outbox" }
    var database: String { outbox + "/outbox.sqlite" }

    /// The names in the directory of the outbox, sorted.
    var names: [String] { Scratch.names(outbox) }

    static func names(_ path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    static func remove(_ path: String) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        if status.st_mode & S_IFMT == S_IFDIR {
            for name in names(path) { remove(path + "/" + name) }
            rmdir(path)
        } else {
            unlink(path)
        }
    }

    static func mode(_ path: String) -> UInt32 {
        var status = stat()
        return lstat(path, &status) == 0 ? status.st_mode & 0o777 : 0
    }

    static func read(_ path: String) -> [UInt8] {
        let descriptor = open(path, O_RDONLY)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            guard count > 0 else { return bytes }
            bytes += buffer.prefix(count)
        }
    }

    static func write(_ bytes: some Sequence<UInt8>, to path: String) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let bytes = Array(bytes)
        _ = Glibc.write(descriptor, bytes, bytes.count)
    }

    /// What a killed process would leave: the files as they are while the outbox is open.
    func copyAsIfKilled() -> Scratch {
        let copy = Scratch()
        mkdir(copy.outbox, 0o700)
        for name in names where name != "lock" {
            Scratch.write(Scratch.read(outbox + "/" + name), to: copy.outbox + "/" + name)
        }
        return copy
    }
}

/// Collects the sentences about faults.
final class Faults: Sendable {
    private let list = Mutex<[String]>([])

    var sentences: [String] { list.withLock { $0 } }
    func add(_ sentence: String) { list.withLock { $0.append(sentence) } }
}

extension DeliveryOutbox {
    /// Opens an outbox whose faults are collected.
    convenience init(
        _ scratch: Scratch,
        _ faults: Faults = Faults(),
        _ change: (inout OutboxLimits) -> Void = { _ in }
    ) throws(OutboxError) {
        var limits = OutboxLimits()
        change(&limits)
        try self.init(directory: scratch.outbox, limits: limits) { faults.add($0) }
    }
}

/// Opens the directory's outbox, takes what it recovers and closes it.
func reopened(_ scratch: Scratch, _ faults: Faults = Faults()) throws -> [RecoveredConnection] {
    let outbox = try DeliveryOutbox(scratch, faults)
    defer { outbox.close() }
    return outbox.recover()
}
