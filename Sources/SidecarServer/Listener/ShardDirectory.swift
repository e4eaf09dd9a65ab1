import NIOCore

/// Finds the shard of an event loop, and runs code on all shards.
struct ShardDirectory: Sendable {
    private let shards: [NIOLoopBound<LoopShard>]
    private let byLoop: [ObjectIdentifier: NIOLoopBound<LoopShard>]

    init(_ shards: [NIOLoopBound<LoopShard>]) {
        self.shards = shards
        byLoop = Dictionary(uniqueKeysWithValues: shards.map { (ObjectIdentifier($0.eventLoop), $0) })
    }

    /// The shard of the current event loop.
    func shard(of eventLoop: any EventLoop) -> LoopShard? {
        byLoop[ObjectIdentifier(eventLoop)]?.value
    }

    func forFirst(_ body: @escaping @Sendable (LoopShard) -> Void) async {
        guard let shard = shards.first else { return }
        try? await shard.eventLoop.submit { body(shard.value) }.get()
    }

    func forEach(_ body: @escaping @Sendable (LoopShard) -> Void) async {
        for shard in shards { try? await shard.eventLoop.submit { body(shard.value) }.get() }
    }

    /// Distributes items over the loops in turn.
    func spread<Item: Sendable>(_ items: [Item], _ body: @escaping @Sendable (LoopShard, Item) -> Void) async {
        for (number, shard) in shards.enumerated() {
            let own = stride(from: number, to: items.count, by: shards.count).map { items[$0] }
            try? await shard.eventLoop.submit { for item in own { body(shard.value, item) } }.get()
        }
    }

    /// The numbers of the loops.
    var loops: Range<Int> { shards.indices }

    /// Asks every loop, or those with these numbers, and collects the results.
    func collect<Answer: Sendable>(
        on loops: Set<Int>? = nil,
        _ ask: @escaping @Sendable (LoopShard) -> Answer
    ) async -> [Answer] {
        var answers: [Answer] = []
        for (number, shard) in shards.enumerated() where loops?.contains(number) ?? true {
            if let answer = try? await shard.eventLoop.submit({ ask(shard.value) }).get() { answers.append(answer) }
        }
        return answers
    }

    func allSatisfy(_ predicate: @escaping @Sendable (LoopShard) -> Bool) async -> Bool {
        for shard in shards where (try? await shard.eventLoop.submit { predicate(shard.value) }.get()) != true {
            return false
        }
        return true
    }
}
