import Crypto

/// A Lua script that the server runs as one step.
public struct RedisScript: Sendable, Hashable {
    /// The program.
    public let source: String
    /// What the server calls it: the SHA-1 of the source, in hexadecimal.
    public let sha1: String

    /// Names the script.
    public init(_ source: String) {
        self.source = source
        var name = ""
        // Redis defines the name so; nothing secret depends on it.
        for byte in Insecure.SHA1.hash(data: Array(source.utf8)) {
            if byte < 16 { name += "0" }
            name += String(byte, radix: 16)
        }
        sha1 = name
    }

    /// The same script, by its name.
    public static func == (left: RedisScript, right: RedisScript) -> Bool { left.sha1 == right.sha1 }

    /// Hashes the name.
    public func hash(into hasher: inout Hasher) { hasher.combine(sha1) }
}
