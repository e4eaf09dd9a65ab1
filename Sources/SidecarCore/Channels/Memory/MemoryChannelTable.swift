import Synchronization

/// The channels of a process by name, in stripes with a lock each.
final class MemoryChannelTable: Sendable {
    typealias Channels = [ChannelName: MemoryChannel]

    private final class Stripe: Sendable {
        let channels = Mutex<Channels>([:])
    }

    private let stripes: [Stripe]
    private let makeEpoch: @Sendable () -> UInt64
    /// The last sequence of the process, and that of the last message of a removed channel.
    private let sequence = Atomic<UInt64>(0)
    private let vanished = Atomic<UInt64>(0)
    private let channelCount = Atomic<Int>(0)

    init(stripes: Int, makeEpoch: @escaping @Sendable () -> UInt64) {
        self.stripes = (0..<stripes).map { _ in Stripe() }
        self.makeEpoch = makeEpoch
    }

    /// The number of channels.
    var count: Int { channelCount.load(ordering: .relaxed) }
    /// The sequence of the last message of the process.
    var lastSequence: UInt64 { sequence.load(ordering: .relaxed) }
    /// The highest sequence of any message of a removed channel.
    var vanishedUpTo: UInt64 { vanished.load(ordering: .relaxed) }

    /// Assigns the sequence of a new message.
    func nextSequence() -> UInt64 { sequence.wrappingAdd(1, ordering: .relaxed).newValue }

    /// Changes a channel, creating it if need be.
    func change<Answer: Sendable>(_ name: ChannelName, _ body: (inout MemoryChannel) -> Answer) -> Answer {
        stripe(of: name).channels.withLock { channels in
            if let index = channels.index(forKey: name) {
                let answer = body(&channels.values[index])
                if channels.values[index].isEmpty { forget(index, in: &channels) }
                return answer
            }
            var channel = MemoryChannel(epoch: ChannelEpoch(makeEpoch()), createdAt: lastSequence)
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

    /// Reads a channel, after changing it if it exists.
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

    /// Visits the channels stripe by stripe.
    func forEachStripe(_ body: (inout Channels) -> Void) {
        for stripe in stripes { stripe.channels.withLock { body(&$0) } }
    }

    /// Changes a channel in place, since a copy would copy its history, and removes it if it has become empty.
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
