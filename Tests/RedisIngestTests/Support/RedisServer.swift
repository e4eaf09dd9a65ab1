import TestSupport

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A `redis-server` of the tests.
final class RedisServer: Sendable {
    struct CannotStart: Error, CustomStringConvertible {
        let description: String
    }

    let port: Int
    private let pid: pid_t
    private let directory: String

    static let program: String? = ["/usr/bin/redis-server", "/usr/local/bin/redis-server"].first {
        access($0, X_OK) == 0
    }
    private static let shell: String? = ["/usr/bin/redis-cli", "/usr/local/bin/redis-cli"].first {
        access($0, X_OK) == 0
    }

    /// Whether server and command line are there.
    static var isInstalled: Bool { program != nil && shell != nil }

    /// Starts a server on a free port, and waits until it listens.
    init(_ arguments: String...) async throws {
        guard let program = Self.program else { throw CannotStart(description: "redis-server is not installed") }
        port = try Self.freePort()
        directory = "/tmp/sidesocket-ingest-\(getpid())-\(port)"
        mkdir(directory, 0o700)
        let fixed = [
            program, "--port", "\(port)", "--bind", "127.0.0.1", "--save", "", "--dir", directory, "--logfile",
            directory + "/log",
        ]
        var started: pid_t = 0
        try Self.withStrings(fixed + arguments) { arguments in
            guard posix_spawn(&started, program, nil, nil, arguments, environ) == 0 else {
                throw CannotStart(description: "redis-server does not start")
            }
        }
        pid = started
        let deadline = ContinuousClock.now + .seconds(20)
        while try run("PING") != "PONG" {
            guard ContinuousClock.now < deadline else {
                throw CannotStart(description: "redis-server does not answer; see \(directory)/log")
            }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    deinit {
        kill(pid, SIGKILL)
        waitpid(pid, nil, 0)
        for file in ["log", "nodes.conf"] { unlink("\(directory)/\(file)") }
        rmdir(directory)
    }

    func signal(_ signal: Int32) { kill(pid, signal) }

    /// Runs `redis-cli` with these arguments, and returns what it prints.
    @discardableResult
    func run(_ arguments: String...) throws -> String { try run(arguments) }

    /// Runs `redis-cli` with these arguments, and returns what it prints.
    @discardableResult
    func run(_ arguments: [String]) throws -> String {
        guard let program = Self.shell else { throw CannotStart(description: "redis-cli is not installed") }
        // A file, since a pipe would be inherited by servers that other tests start meanwhile, and then never end.
        let path = "/tmp/sidesocket-output-\(getpid())-\(UInt64.random(in: 0 ... .max))"
        defer { unlink(path) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 1, path, O_WRONLY | O_CREAT | O_EXCL, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var child: pid_t = 0
        let result = Self.withStrings([program, "-p", "\(port)"] + arguments) {
            posix_spawn(&child, program, &actions, nil, $0, environ)
        }
        guard result == 0 else { throw CannotStart(description: "redis-cli does not start") }
        waitpid(child, nil, 0)
        var output = contents(ofFile: path)
        if output.last == UInt8(ascii: "\n") { output.removeLast() }
        return String(decoding: output, as: UTF8.self)
    }

    /// Adds `count` entries with numbers from 1 on, in turn for so many channels `c0`, `c1`, …
    func fill(_ stream: String, _ count: Int, channels: Int) throws {
        let script = """
            for n = 1, \(count) do
                redis.call('XADD', KEYS[1], '*', 'channel', 'c' .. (n % \(channels)), 'text', n)
            end
            """
        try run("EVAL", script, "1", stream)
    }

    /// How many entries of a stream were taken and not acknowledged.
    func pending(_ stream: String, _ group: String) throws -> Int {
        Int(try run("XPENDING", stream, group).split(separator: "\n").first ?? "") ?? -1
    }

    /// How often the server has carried out a command.
    func calls(_ command: String) throws -> Int {
        let line = try run("INFO", "commandstats").split(whereSeparator: \.isNewline)
            .first { $0.hasPrefix("cmdstat_\(command):calls=") }
        return line.flatMap { Int($0.drop { $0 != "=" }.dropFirst().prefix { $0.isNumber }) } ?? 0
    }

    private static func withStrings<Result>(
        _ strings: [String],
        _ body: ([UnsafeMutablePointer<CChar>?]) throws -> Result
    ) rethrows -> Result {
        let pointers = strings.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        return try body(pointers)
    }

    /// A port that nobody listens on. It, and the port of a cluster's bus 10,000 above, are below those that the system
    /// hands out.
    private static func freePort() throws -> Int {
        for _ in 0..<200 {
            let port = Int.random(in: 12_000..<22_000)
            if LoopbackPort.isFree(port) { return port }
        }
        throw CannotStart(description: "there is no free port")
    }
}
