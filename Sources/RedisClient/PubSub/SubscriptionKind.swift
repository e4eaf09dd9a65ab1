/// The commands that subscribe, and the pushes that confirm them.
struct SubscriptionKind: Sendable, Hashable {
    /// True to subscribe, false to unsubscribe.
    let subscribes: Bool
    /// Whether it is sharded pub/sub, where a message stays with the slot's owner.
    let isSharded: Bool

    /// The command's name.
    var command: String {
        switch (subscribes, isSharded) {
        case (true, false): "SUBSCRIBE"
        case (false, false): "UNSUBSCRIBE"
        case (true, true): "SSUBSCRIBE"
        case (false, true): "SUNSUBSCRIBE"
        }
    }

    /// The kind that a push of this name confirms; nil for other pushes.
    init?(push name: RESPValue) {
        if name.matches("subscribe") {
            self.init(subscribes: true, isSharded: false)
        } else if name.matches("unsubscribe") {
            self.init(subscribes: false, isSharded: false)
        } else if name.matches("ssubscribe") {
            self.init(subscribes: true, isSharded: true)
        } else if name.matches("sunsubscribe") {
            self.init(subscribes: false, isSharded: true)
        } else {
            return nil
        }
    }

    init(subscribes: Bool, isSharded: Bool) {
        self.subscribes = subscribes
        self.isSharded = isSharded
    }
}

/// Channels that one command subscribes or unsubscribes; the server confirms them one by one, in order.
struct SubscriptionBatch: Sendable, Equatable {
    let kind: SubscriptionKind
    let channels: [RedisChannel]

    /// Whether a `PING` has to follow, whose reply ends the batch.
    ///
    /// When a slot moves, the server ends its subscriptions by itself, with the same pushes, and then answers the command
    /// with an error. Counting pushes would take one for the other, and later replies for those of other commands.
    var needsFence: Bool { kind.isSharded && !kind.subscribes }

    /// How many bytes it takes at most when it is sent.
    var maxEncodedBytes: Int { channels.reduce(64) { $0 + $1.name.utf8.count + 25 } }
}
