import Logging
import NIOCore
import RedisClient
import SidecarCore

/// Sessions that the last node of a cluster has left for the next one: a hash by session, sealed, each with the time at
/// which it was left.
enum ParkedSessions {
    /// The most sessions that are kept.
    private static let capacity = 100_000
    /// For how long the app is told of their end if no node starts before, in milliseconds.
    private static let memory: Int64 = 86_400_000
    /// How many are taken at once.
    private static let count = 50
    /// Who seals them: whichever node it was.
    private static let writer = "parked"

    /// - Keys: the hash.
    /// - Arguments: session, record, how long the hash is kept.
    /// - Returns: 1 if it is kept, 0 if there are too many.
    private static let put = RedisScript(
        """
        if redis.call('HLEN', KEYS[1]) >= \(capacity) then return 0 end
        redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
        redis.call('PEXPIRE', KEYS[1], ARGV[3])
        return 1
        """
    )

    /// - Keys: the hash.
    /// - Arguments: about how many.
    /// - Returns: Sessions and their records, which are no longer in the hash.
    private static let take = RedisScript(
        """
        if redis.call('HLEN', KEYS[1]) == 0 then return {} end
        local found = redis.call('HSCAN', KEYS[1], '0', 'COUNT', ARGV[1])[2]
        for index = 1, #found, 2 do redis.call('HDEL', KEYS[1], found[index]) end
        return found
        """
    )

    static func put(
        _ session: String,
        _ record: [UInt8],
        by context: NodeContext,
        _ completion: @escaping (Bool) -> Void
    ) {
        var plain = ByteBuffer()
        plain.writeInteger(context.clock.now)
        plain.writeBytes(record)
        let sealed = context.seal.seal(plain, by: writer, as: "session \(session)")
        let arguments: [RedisArgument] = [.text(session), .bytes(sealed), .number(memory)]
        context.client.send(.run(put, keys: [context.keys.parked], arguments: arguments)) { result in
            completion((try? result.get())?.integer == 1)
        }
    }

    static func take(by context: NodeContext, _ completion: @escaping ([ParkedSession]) -> Void) {
        let command = RedisCommand.run(take, keys: [context.keys.parked], arguments: [.number(Int64(count))])
        context.client.send(command) { result in
            completion(read((try? result.get())?.items ?? [], by: context))
        }
    }

    private static func read(_ items: [RESPValue], by context: NodeContext) -> [ParkedSession] {
        var sessions: [ParkedSession] = []
        var index = 0
        while index + 1 < items.count {
            defer { index += 2 }
            guard let id = items[index].text, let stored = items[index + 1].bytes,
                var plain = context.seal.open(stored, by: writer, as: "session \(id)"),
                let time = plain.readInteger(as: Int64.self)
            else {
                context.warn(
                    "a session that the last node has left cannot be read, and its end is not told to the app",
                    ["why": "it had another SIDESOCKET_CLUSTER_SECRET, or somebody else has written to Redis"],
                    perMinute: NodeContext.fewLines
                )
                continue
            }
            let age = TimeAmount.milliseconds(min(max(context.clock.now &- time, 0), memory))
            sessions.append(ParkedSession(record: Array(plain.readableBytesView), age: age))
        }
        return sessions
    }
}
