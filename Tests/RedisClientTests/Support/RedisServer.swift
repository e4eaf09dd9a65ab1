import NIOCore
import RedisClient
import TestSupport

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A real server of a test, on a port of its own.
final class RedisServer: @unchecked Sendable {
    /// Says whether Redis is installed: without it these tests are skipped.
    static let isInstalled: Bool = isProgram("redis-server")
    /// What a skipped test says.
    static let hint = "redis-server is not installed (apt-get install redis-server)"

    static func isProgram(_ name: String) -> Bool {
        guard let path = getenv("PATH") else { return false }
        return String(cString: path).split(separator: ":").contains { access("\($0)/\(name)", X_OK) == 0 }
    }

    let port: Int
    let directory: String
    private let program: String
    private let arguments: [String]
    private(set) var process: ServerProcess

    var address: RedisAddress { RedisAddress(host: "127.0.0.1", port: port) }

    init(_ options: [String] = [], port: Int? = nil, program: String = "redis-server") throws {
        let port = try port ?? FreePort.find()
        self.port = port
        self.program = program
        directory = TestDirectory.make()
        let listens = options.contains("--port") ? [] : ["--port", "\(port)"]
        arguments =
            listens + [
                "--bind", "127.0.0.1", "--dir", directory, "--save", "", "--appendonly", "no",
                "--enable-debug-command", "yes", "--loglevel", "notice", "--repl-diskless-sync-delay", "0",
                "--repl-diskless-load", "swapdb",
            ] + options
        process = try ServerProcess([program] + arguments, output: "\(directory)/log")
        try awaitListener()
    }

    private func awaitListener() throws {
        for _ in 0..<2_000 {
            if LoopbackPort.isListening(port) { return }
            usleep(2_500)
        }
        stop()
        throw ServerError("redis-server does not listen; see \(directory)/log")
    }

    /// A Sentinel that watches a master as `mymaster`.
    static func sentinel(of master: Int, options: String = "") throws -> RedisServer {
        let port = try FreePort.find()
        let server = try RedisServer(sentinelPort: port, master: master, options: options)
        return server
    }

    private init(sentinelPort: Int, master: Int, options: String) throws {
        port = sentinelPort
        program = "redis-server"
        directory = TestDirectory.make()
        let file = "\(directory)/sentinel.conf"
        let text = """
            port \(sentinelPort)
            bind 127.0.0.1
            dir \(directory)
            sentinel monitor mymaster 127.0.0.1 \(master) 2
            sentinel down-after-milliseconds mymaster 600
            sentinel failover-timeout mymaster 4000
            \(options)

            """
        guard let handle = fopen(file, "w") else { throw ServerError("no file") }
        fputs(text, handle)
        fclose(handle)
        arguments = [file, "--sentinel"]
        process = try ServerProcess([program] + arguments, output: "\(directory)/log")
        try awaitListener()
    }

    /// Ends it and starts it again on the same port.
    func restart() throws {
        stop()
        try startAgain()
    }

    func startAgain() throws {
        process = try ServerProcess([program] + arguments, output: "\(directory)/log")
    }

    func stop() { process.kill() }

    /// Lets it run or not.
    func freeze() { process.signal(SIGSTOP) }
    func thaw() { process.signal(SIGCONT) }
}

/// Keeps servers until the end of a test, and ends them then.
func withServers<R>(_ servers: RedisServer..., body: () async throws -> R) async throws -> R {
    defer { for server in servers { server.stop() } }
    return try await body()
}
