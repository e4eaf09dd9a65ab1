import NIOCore
import RedisClient

/// The commands that reading a stream sends.
struct IngestCommands: Sendable {
    /// What an entry needs beside its message: names, a channel, an event type, ids, and what the script adds to each.
    private static let fieldBytes = 4_096
    /// The longest that large entries may take on the way. A server that does not answer at all is noticed earlier.
    private static let readTimeout = TimeAmount.seconds(15)

    let keys: IngestKeys
    /// Random; names this node as the holder of the lease.
    let token: String
    let timing: IngestTiming
    let configuration: RedisConfiguration

    private var leaseMilliseconds: Int64 { max(1, timing.lease.nanoseconds / 1_000_000) }

    func acquire(groupStart: EntryID?) -> RedisCommand {
        lease(
            .run(
                IngestScripts.acquire,
                keys: [keys.lease, keys.source, keys.stream],
                arguments: [
                    .text(token), .number(leaseMilliseconds), .text(token), .text(keys.group),
                    .text(groupStart.map(\.description) ?? "0"),
                ]
            )
        )
    }

    func renew() -> RedisCommand {
        lease(
            .run(IngestScripts.renew, keys: [keys.lease], arguments: [.text(token), .number(leaseMilliseconds)])
        )
    }

    func release() -> RedisCommand {
        lease(.run(IngestScripts.release, keys: [keys.lease], arguments: [.text(token)]))
    }

    private func lease(_ command: RedisCommand) -> RedisCommand {
        var command = command
        command.timeout = timing.leaseTimeout
        return command
    }

    func read(after: EntryID?, count: Int, bytes: Int, maxMessageBytes: Int) -> RedisCommand {
        var command = RedisCommand.run(
            IngestScripts.read,
            keys: [keys.stream, keys.lease],
            arguments: [
                .text(token), .text(keys.group), .text(IngestKeys.consumer), .text(after?.description ?? ">"),
                .number(Int64(count)), .number(Int64(bytes)), .number(Int64(maxEntryBytes(maxMessageBytes))),
            ]
        )
        command.timeout = max(configuration.commandTimeout, Self.readTimeout)
        return command
    }

    /// The most that an entry may take for its message to be within the limit. Base64 needs four bytes for three.
    private func maxEntryBytes(_ maxMessageBytes: Int) -> Int {
        let message = min(max(0, maxMessageBytes), 1 << 40)
        let needed = (message / 3 + 1) * 4 + Self.fieldBytes
        return min(needed, max(1, configuration.limits.maxBytes - Self.replyOverhead(timing)))
    }

    /// What a reply may have beside its largest entry, in bytes.
    private static func replyOverhead(_ timing: IngestTiming) -> Int { timing.batchBytes + timing.batch * 256 + 4_096 }

    /// How large replies may be for entries with messages of this size.
    static func maxReplyBytes(_ maxMessageBytes: Int, _ timing: IngestTiming) -> Int {
        (min(max(0, maxMessageBytes), 1 << 40) / 3 + 1) * 4 + fieldBytes + replyOverhead(timing)
    }

    func wait(after: EntryID) -> RedisCommand {
        // The connection cannot be probed meanwhile, and must not be taken for silent.
        let longest = min(TimeAmount.seconds(1), .nanoseconds(configuration.probeTimeout.nanoseconds / 2))
        let milliseconds = max(1, longest.nanoseconds / 1_000_000)
        var command = RedisCommand(
            "XREAD",
            [
                "COUNT", 1, "BLOCK", .number(milliseconds), "STREAMS", .text(keys.stream), .text(after.description),
            ],
            slotKey: keys.stream
        )
        command.timeout = .milliseconds(milliseconds) + max(configuration.commandTimeout, .seconds(1))
        return command
    }

    func acknowledge(_ ids: [EntryID]) -> RedisCommand {
        RedisCommand(
            "XACK",
            [.text(keys.stream), .text(keys.group)] + ids.map { .text($0.description) },
            slotKey: keys.stream
        )
    }
}
