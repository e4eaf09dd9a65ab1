/// The pings and pongs that one connection may send (`CONTROL_RATE`).
///
/// A frame above the rate is still answered, but nothing more is read until its token would be there.
public struct ControlAllowance: Sendable, Equatable {
    /// A control frame that costs work and carries no data.
    public enum Frame: Sendable, Equatable {
        case ping, pong
    }

    private var time = GCRA.full
    /// Our own pings whose pongs are not counted.
    private var owedPongs: UInt32 = 0

    /// Makes a full allowance.
    public init() {}

    /// We have sent a ping, so one pong is not counted.
    public mutating func pingSent() {
        if owedPongs < .max { owedPongs += 1 }
    }

    /// Counts a frame of the client.
    ///
    /// - Parameters:
    ///   - limit: The rate; nil for none.
    ///   - isDry: Whether this is a dry run: nobody waits, so a frame above the rate leaves no debt.
    ///   - now: The time in nanoseconds.
    /// - Returns: Nanoseconds to pause for; 0 for a frame within the rate.
    public mutating func take(_ frame: Frame, _ limit: GCRA?, isDry: @autoclosure () -> Bool, now: Int64) -> Int64 {
        if frame == .pong, owedPongs > 0 {
            owedPongs -= 1
            return 0
        }
        guard let limit, case .limited(let wait) = limit.take(tat: &time, now: now) else { return 0 }
        if !isDry() { _ = limit.takeInDebt(tat: &time, now: now) }
        return wait
    }
}
