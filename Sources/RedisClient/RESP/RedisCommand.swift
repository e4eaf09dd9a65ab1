public import NIOCore

/// A command and how the client should treat it.
public struct RedisCommand: Sendable {
    /// The command's name, such as `GET`.
    public let name: String
    /// What follows the name.
    public let arguments: [RedisArgument]
    /// The key that chooses the slot in a cluster; nil when any master will do.
    public let slotKey: String?
    /// The script that it runs, which is sent instead of the name.
    let script: RedisScript?

    /// Whether the client carries it out elsewhere, or later, when the server says so.
    ///
    /// Without, a reply `MOVED`, `ASK`, `READONLY`, `LOADING`, `CLUSTERDOWN`, `TRYAGAIN` or `MASTERDOWN` still makes the
    /// client learn what has changed, but the command fails with ``RedisFailure/redirected``, so that the caller can
    /// keep an order of its own. For the same reason it does not wait for a connection.
    public var followsRedirects = true
    /// How long it may take; nil for the configuration's ``RedisConfiguration/commandTimeout``.
    public var timeout: TimeAmount?

    /// A command by its name.
    ///
    /// - Parameter slotKey: The key that chooses the slot in a cluster; nil for any master.
    public init(_ name: String, _ arguments: [RedisArgument] = [], slotKey: String?) {
        self.init(name: name, arguments: arguments, slotKey: slotKey, script: nil)
    }

    private init(name: String, arguments: [RedisArgument], slotKey: String?, script: RedisScript?) {
        self.name = name
        self.arguments = arguments
        self.slotKey = slotKey
        self.script = script
    }

    /// Runs a script, which is sent whole to a server that does not know it.
    ///
    /// - Parameter keys: All keys that it touches, of one slot; the first chooses the slot.
    public static func run(_ script: RedisScript, keys: [String], arguments: [RedisArgument]) -> RedisCommand {
        var all: [RedisArgument] = [.number(Int64(keys.count))]
        all.reserveCapacity(1 + keys.count + arguments.count)
        for key in keys { all.append(.text(key)) }
        all.append(contentsOf: arguments)
        return RedisCommand(name: "EVALSHA", arguments: all, slotKey: keys.first, script: script)
    }

    /// How many bytes it takes at most when it is sent with the script's name.
    var maxEncodedBytes: Int {
        arguments.reduce(name.utf8.count + 128) { $0 + $1.maxEncodedBytes }
    }

    /// Writes the command as an array of strings.
    ///
    /// - Parameter withSource: Send the script itself and not its name.
    func write(to buffer: inout ByteBuffer, withSource: Bool = false) {
        guard let script else {
            buffer.writeRESPCommandHead(argumentCount: arguments.count + 1)
            buffer.writeRESPArgument(name)
            for argument in arguments { buffer.writeRESPArgument(argument) }
            return
        }
        buffer.writeRESPCommandHead(argumentCount: arguments.count + 2)
        buffer.writeRESPArgument(withSource ? "EVAL" : "EVALSHA")
        buffer.writeRESPArgument(withSource ? script.source : script.sha1)
        for argument in arguments { buffer.writeRESPArgument(argument) }
    }
}
