import NIOCore
import NIOPosix
import Synchronization
import TestSupport

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A program that a test starts and that does not outlive the tests.
final class ServerProcess: Sendable {
    let pid: pid_t
    private let hasEnded = Mutex(false)

    init(_ arguments: [String], output: String) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        pointers.append(nil)
        defer { for pointer in pointers { free(pointer) } }
        var process = pid_t()
        let failure = posix_spawnp(&process, arguments[0], &actions, nil, &pointers, environ)
        guard failure == 0 else { throw ServerError("\(arguments[0]) does not start: \(failure)") }
        pid = process
        Watchdog.shared.guardProcess(process)
    }

    deinit { kill() }

    /// Sends a signal.
    func signal(_ number: Int32) { send(number, to: pid) }

    /// Ends it at once.
    func kill() { end(by: SIGKILL) }

    /// Ends it and waits until it is gone.
    func end(by number: Int32) {
        hasEnded.withLock { hasEnded in
            guard !hasEnded else { return }
            hasEnded = true
            signal(number)
            var status: Int32 = 0
            waitpid(pid, &status, 0)
        }
    }

    /// Runs a program to its end and returns its exit status.
    static func run(_ arguments: [String], output: String = "/dev/null") throws -> Int32 {
        let process = try ServerProcess(arguments, output: output)
        return process.hasEnded.withLock { hasEnded in
            hasEnded = true
            var status: Int32 = 0
            waitpid(process.pid, &status, 0)
            return status
        }
    }
}

private func send(_ signal: Int32, to pid: pid_t) { _ = kill(pid, signal) }

/// What a test could not set up.
struct ServerError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Ends the programs of tests that crashed, by a shell that waits for the end of this process.
private final class Watchdog: Sendable {
    static let shared = Watchdog()
    private let file = "\(TestDirectory.root)/redis-tests-\(getpid()).pids"

    private init() {
        let script = """
            while kill -0 "$1" 2>/dev/null; do sleep 1; done
            while read pid; do kill -9 "$pid"; done < "$2"
            rm -rf "$2" "$3"
            """
        let arguments = ["sh", "-c", script, "sh", "\(getpid())", file, TestDirectory.shared]
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        pointers.append(nil)
        defer { for pointer in pointers { free(pointer) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        // A pipe that the shell inherits would keep who started the tests waiting.
        for descriptor: Int32 in 0...2 {
            posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_RDWR, 0)
        }
        var process = pid_t()
        posix_spawnp(&process, "sh", &actions, nil, &pointers, environ)
    }

    func guardProcess(_ pid: pid_t) {
        guard let handle = fopen(file, "a") else { return }
        fputs("\(pid)\n", handle)
        fclose(handle)
    }
}

/// Where tests put files.
enum TestDirectory {
    static let root = "/tmp"
    static let shared = "\(root)/redis-tests-\(getpid())"
    private static let counter = Atomic(0)

    /// A new, empty directory; removed after the tests.
    static func make() -> String {
        mkdir(shared, 0o700)
        let path = "\(shared)/\(counter.wrappingAdd(1, ordering: .relaxed).newValue)"
        mkdir(path, 0o700)
        return path
    }
}

/// Ports that nobody listens on.
enum FreePort {
    private static let taken = Mutex<Set<Int>>([])

    /// A port below those that outgoing connections get; the one 10,000 above it is free, too, for the bus of a cluster.
    static func find() throws -> Int {
        for _ in 0..<500 {
            let port = Int.random(in: 10_500..<22_000)
            guard taken.withLock({ $0.insert(port).inserted }) else { continue }
            if LoopbackPort.isFree(port), LoopbackPort.isFree(port + 10_000) { return port }
        }
        throw ServerError("no free port")
    }
}
