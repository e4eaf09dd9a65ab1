/// The clocks of a broker in memory.
public struct ChannelClock: Sendable {
    /// Nanoseconds of a clock that never goes back.
    let monotonic: @Sendable () -> Int64
    /// Milliseconds since 1970.
    let unixMilliseconds: @Sendable () -> Int64

    /// Clocks of your own, such as a test's.
    public init(
        monotonic: @escaping @Sendable () -> Int64,
        unixMilliseconds: @escaping @Sendable () -> Int64
    ) {
        self.monotonic = monotonic
        self.unixMilliseconds = unixMilliseconds
    }
}
