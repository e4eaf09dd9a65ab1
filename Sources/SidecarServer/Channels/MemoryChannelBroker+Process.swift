import SidecarCore

extension MemoryChannelBroker {
    /// A broker with the clock and the random bits of this process.
    convenience init(settings: Settings, events: any ChannelBrokerEvents) {
        self.init(
            events: events,
            rules: ChannelRules(settings),
            maxHistoryBytes: settings.maxHistoryBytes,
            servesStreams: settings.ssePaths != nil,
            clock: ChannelClock(monotonic: MonotonicClock.now, unixMilliseconds: WallClock.unixMilliseconds),
            makeEpoch: { .random(in: 1 ... .max) }
        )
    }
}
