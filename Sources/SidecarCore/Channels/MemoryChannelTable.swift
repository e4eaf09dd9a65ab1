import DequeModule
import Synchronization

/// A channel as ``MemoryChannelBroker`` keeps it.
struct MemoryChannel: Sendable {
    var offset: UInt64 = 0
    let epoch: ChannelEpoch
    var isSubscribed = false
    /// Those that are kept follow each other without gaps.
    var kept: Deque<KeptMessage> = []
    /// The place before its first message, among all of the process.
    let createdAt: UInt64
    /// The place of the last message that is not kept.
    var lostUpTo: UInt64 = 0

    /// The place of its last message.
    var last: UInt64 { kept.last?.sequence ?? lostUpTo }

    /// Without subscribers and history it need not exist.
    var isEmpty: Bool { !isSubscribed && kept.isEmpty }

    /// The messages behind a place; nil when some of them are not kept, or it has not been reached.
    func kept(after offset: UInt64?) -> Deque<KeptMessage>.SubSequence? {
        let first = self.offset &- UInt64(kept.count) &+ 1
        let before = offset ?? first &- 1
        guard before <= self.offset, before + 1 >= first else { return nil }
        return kept[Int(before + 1 - first)...]
    }
}

/// The channels of a process by name, in several parts with a lock each.
final class MemoryChannelTable: Sendable {
    typealias Channels = [ChannelName: MemoryChannel]

    private final class Stripe: Sendable {
        let channels = Mutex<Channels>([:])
    }

    private let stripes: [Stripe]
    private let makeEpoch: @Sendable () -> UInt64
    /// The place of the last message of the process, and of the last one of a channel that is gone.
    private let sequence = Atomic<UInt64>(0)
    private let vanished = Atomic<UInt64>(0)
    private let channelCount = Atomic<Int>(0)

    init(stripes: Int, makeEpoch: @escaping @Sendable () -> UInt64) {
        self.stripes = (0..<stripes).map { _ in Stripe() }
        self.makeEpoch = makeEpoch
    }

    /// How many there are.
    var count: Int { channelCount.load(ordering: .relaxed) }
    /// The place of the last message of the process.
    var lastPlace: UInt64 { sequence.load(ordering: .relaxed) }
    /// The place of the last message of a channel that is gone.
    var vanishedUpTo: UInt64 { vanished.load(ordering: .relaxed) }

    /// A place for another message.
    func nextPlace() -> UInt64 { sequence.wrappingAdd(1, ordering: .relaxed).newValue }

    /// Changes a channel, which begins to exist by that.
    func change<Answer: Sendable>(_ name: ChannelName, _ body: (inout MemoryChannel) -> Answer) -> Answer {
        stripe(of: name).channels.withLock { channels in
            if let index = channels.index(forKey: name) {
                let answer = body(&channels.values[index])
                if channels.values[index].isEmpty { forget(index, in: &channels) }
                return answer
            }
            var channel = MemoryChannel(epoch: ChannelEpoch(makeEpoch()), createdAt: lastPlace)
            let answer = body(&channel)
            if channel.isEmpty {
                noteVanished(channel)
            } else {
                channels[name] = channel
                channelCount.wrappingAdd(1, ordering: .relaxed)
            }
            return answer
        }
    }

    /// Changes a channel if it exists.
    func update(_ name: ChannelName, _ body: (inout MemoryChannel) -> Void) {
        stripe(of: name).channels.withLock { update(name, in: &$0, body) }
    }

    /// Looks at a channel, after a change if it exists.
    func look<Answer: Sendable>(
        _ name: ChannelName,
        after change: (inout MemoryChannel) -> Void,
        _ body: (MemoryChannel?) -> Answer
    ) -> Answer {
        stripe(of: name).channels.withLock { channels in
            update(name, in: &channels, change)
            return body(channels[name])
        }
    }

    /// Looks at all channels of one part, and then at those of the next.
    func forEachStripe(_ body: (inout Channels) -> Void) {
        for stripe in stripes { stripe.channels.withLock { body(&$0) } }
    }

    /// Changes a channel in place, since a copy would copy its history, and forgets it when nothing is left of it.
    func update(_ name: ChannelName, in channels: inout Channels, _ body: (inout MemoryChannel) -> Void) {
        guard let index = channels.index(forKey: name) else { return }
        body(&channels.values[index])
        if channels.values[index].isEmpty { forget(index, in: &channels) }
    }

    private func forget(_ index: Channels.Index, in channels: inout Channels) {
        noteVanished(channels.remove(at: index).value)
        channelCount.wrappingSubtract(1, ordering: .relaxed)
    }

    private func noteVanished(_ channel: MemoryChannel) {
        if channel.last > vanishedUpTo { vanished.store(channel.last, ordering: .relaxed) }
    }

    private func stripe(of name: ChannelName) -> Stripe {
        stripes[Int(UInt(bitPattern: name.hashValue) % UInt(stripes.count))]
    }
}
