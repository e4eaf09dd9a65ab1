import NIOCore
import RedisClient
import SidecarCore

/// What the engine is told of users.
struct UserCommands {
    /// The most users of one command.
    static let mostUsers: Int64 = 500
    /// The highest limit that a script gets: its numbers are exact as far as this.
    private static let highestLimit = 1 << 50

    let context: NodeContext
    /// Whether changes of the number of nodes are published.
    let sharesRates: Bool

    private var publish: RedisArgument {
        sharesRates ? .text(context.client.usesShardedPubSub ? "SPUBLISH" : "PUBLISH") : ""
    }

    /// See ``UserScripts/count``.
    func count(_ user: UserName, _ request: UserCount.Request, era: Int64) -> RedisCommand {
        let (keys, tag, incarnation) = (context.keys, ClusterKeys.tag(of: user), context.incarnation)
        return .run(
            UserScripts.count,
            keys: [
                keys.userConnections(user), keys.users(tag, of: incarnation), keys.userEra(tag, of: incarnation),
                keys.userChanges(tag),
            ],
            arguments: [
                .text(incarnation), .number(era), .number(Int64(request.own)), .number(Int64(request.wanted)),
                .number(Int64(min(request.limit, Self.highestLimit))), .text(user.text), publish,
                .text(keys.userTopic(tag)),
            ]
        )
    }

    /// Reads users that the engine has for this node.
    func scan(_ step: UserSweep.Step) -> RedisCommand {
        let key = context.keys.users(step.tag, of: context.incarnation)
        return RedisCommand(
            "SSCAN",
            [.text(key), .text(step.cursor), "COUNT", .number(Self.mostUsers)],
            slotKey: key
        )
    }

    /// Removes a lost node, tag by tag.
    ///
    /// - Parameter completion: Whether all of it was done.
    func clear(_ incarnation: String, tag: Int = 0, _ completion: @escaping (Bool) -> Void) {
        guard tag < ClusterKeys.tags else { return completion(true) }
        let keys = context.keys
        let command = RedisCommand.run(
            UserScripts.clear,
            keys: [keys.users(tag, of: incarnation), keys.userEra(tag, of: incarnation), keys.userChanges(tag)],
            arguments: [
                .text(incarnation), .text(keys.userConnectionsStem(tag)), .number(Self.mostUsers), publish,
                .text(keys.userTopic(tag)),
            ]
        )
        context.client.send(command) { result in
            guard let count = (try? result.get())?.integer else { return completion(false) }
            clear(incarnation, tag: count <= 0 ? tag + 1 : tag, completion)
        }
    }
}

/// What the engine answers to ``UserScripts/count``.
struct UserAnswer {
    /// How many connections count here; nil when the engine has refused an old era.
    let number: Int?
    /// On how many nodes the user is.
    let nodes: Int
    /// How often users of the tag have come to another number of nodes.
    let changes: Int64

    /// Nil unless it can be an answer to this request.
    init?(_ value: RESPValue, to request: UserCount.Request) {
        guard let items = value.items, items.count == 3, let number = items[0].integer, let nodes = items[1].integer,
            let changes = items[2].integer
        else { return nil }
        self.number = number == -1 ? nil : Int(clamping: number)
        self.nodes = Int(clamping: max(1, nodes))
        self.changes = changes
        if let number = self.number, number < request.own || number > request.wanted { return nil }
    }

    /// What is published when a user comes to another number of nodes: `CHANGES NODES USER`.
    static func message(_ payload: ByteBuffer) -> (user: UserName, nodes: Int, changes: Int64)? {
        let parts = String(buffer: payload).split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, let changes = Int64(parts[0]), let nodes = Int(parts[1]), nodes > 0 else { return nil }
        return (UserName(String(parts[2])), nodes, changes)
    }
}
