import Synchronization
import TestSupport

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A `redis-server` of the tests.
final class RedisProcess: Sendable {
    struct CannotStart: Error, CustomStringConvertible {
        let description: String
    }

    let port: Int
    private let pid: pid_t

    static let program: String? = firstReadable(["/usr/bin/redis-server", "/usr/local/bin/redis-server"])

    private static func firstReadable(_ paths: [String]) -> String? { paths.first { path in access(path, R_OK) == 0 } }

    static var isInstalled: Bool { program != nil }

    /// Starts a server on a free port, and waits until it listens.
    init(arguments: [String] = []) async throws {
        guard let program = Self.program else { throw CannotStart(description: "redis-server is not installed") }
        let port = try Self.freePort()
        self.port = port
        let directory = "/tmp/sidesocket-redis-\(getpid())-\(port)"
        mkdir(directory, 0o700)
        let fixed = [
            program, "--port", "\(port)", "--bind", "127.0.0.1", "--save", "", "--dir", directory, "--logfile",
            directory + "/log",
        ]
        pid = try Self.spawn(program, fixed + arguments)
        Self.running.withLock { [pid] in $0.append((pid, directory)) }
        _ = Self.endsWithTests
        let deadline = ContinuousClock.now + .seconds(20)
        while !LoopbackPort.isListening(port) {
            guard ContinuousClock.now < deadline else {
                kill(pid, SIGKILL)
                throw CannotStart(description: "redis-server does not listen; see \(directory)/log")
            }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    deinit { kill(pid, SIGKILL) }

    /// The servers that were started, and that they end with the tests: one that all tests of a suite use has no deinit.
    private static let running = Mutex<[(pid: pid_t, directory: String)]>([])
    private static let endsWithTests: Void = {
        atexit {
            for (pid, directory) in RedisProcess.running.withLock({ $0 }) {
                kill(pid, SIGKILL)
                unlink(directory + "/log")
                rmdir(directory)
            }
        }
    }()

    func signal(_ signal: Int32) { kill(pid, signal) }

    /// Lets time pass for all keys with a prefix: what expires expires so much earlier, and messages are so much older.
    func pass(milliseconds: Int64, prefix: String) throws {
        let script = """
            for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
              local left = redis.call('PTTL', key)
              if redis.call('TYPE', key).ok == 'stream' then
                local entries = redis.call('XRANGE', key, '-', '+')
                redis.call('DEL', key)
                for _, entry in ipairs(entries) do
                  local head, time, body = string.match(entry[2][2], '^(1 %w+ %d+ %x+ %x+ )(%d+)(\\n.*)$')
                  local frame = head .. string.format('%d', time - ARGV[2]) .. body
                  redis.call('XADD', key, entry[1], entry[2][1], frame)
                end
              end
              if left >= 0 then redis.call('PEXPIRE', key, math.max(0, left - ARGV[2])) end
            end
            """
        try RedisShell(port: port).run("EVAL", script, "0", prefix, "\(milliseconds)")
    }

    private static func spawn(_ program: String, _ arguments: [String]) throws -> pid_t {
        var pid: pid_t = 0
        let argv = arguments.map { strdup($0) } + [nil]
        defer { for text in argv { free(text) } }
        let result = posix_spawn(&pid, program, nil, nil, argv, nil)
        guard result == 0 else { throw CannotStart(description: String(cString: strerror(result))) }
        return pid
    }

    /// Runs a program to its end, and returns what it prints.
    static func output(of arguments: [String]) throws -> String {
        // A file, since a pipe would be inherited by servers that other tests start meanwhile, and then never end.
        let path = "/tmp/sidesocket-output-\(getpid())-\(UInt64.random(in: 0 ... .max))"
        defer { unlink(path) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 1, path, O_WRONLY | O_CREAT | O_EXCL, 0o600)
        var pid: pid_t = 0
        let argv = arguments.map { strdup($0) } + [nil]
        defer { for text in argv { free(text) } }
        let result = posix_spawn(&pid, arguments[0], &actions, nil, argv, nil)
        guard result == 0 else { throw CannotStart(description: String(cString: strerror(result))) }
        waitpid(pid, nil, 0)
        let output = contents(ofFile: path)
        return String(decoding: output, as: UTF8.self)
    }

    /// A port below those that the system hands out, which nobody listens on.
    static func freePort() throws -> Int {
        for _ in 0..<200 {
            let port = Int.random(in: 12_000..<32_000)
            if LoopbackPort.isFree(port) { return port }
        }
        throw CannotStart(description: "there is no free port")
    }
}
