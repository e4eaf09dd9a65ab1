import NIOCore

@testable import RedisClient

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// `redis-cli`, for what a test does behind the client's back.
enum CommandLineClient {
    static func run(_ address: RedisAddress, _ arguments: [String]) async throws -> String {
        let output = "\(TestDirectory.make())/output"
        let status = try ServerProcess.run(
            ["redis-cli", "-h", address.host, "-p", "\(address.port)"] + arguments,
            output: output
        )
        let text = try read(output)
        guard status == 0 else { throw ServerError("redis-cli \(arguments): \(text)") }
        return text
    }

    private static func read(_ path: String) throws -> String {
        guard let file = fopen(path, "r") else { throw ServerError("no output") }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = fread(&chunk, 1, chunk.count, file)
            if count == 0 { break }
            bytes += chunk[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
