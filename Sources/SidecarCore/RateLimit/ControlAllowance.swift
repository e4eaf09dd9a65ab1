/// The pings and pongs that one connection may send (`CONTROL_RATE`).
///
/// The frame that finds no token is still answered. What it costs is a pause, until its token is there, in which
/// nothing more is read.
public struct ControlAllowance: Sendable, Equatable {
    /// A control frame that asks for nothing but work.
    public enum Frame: Sendable, Equatable {
        case ping, pong
    }

    private var time = GCRA.full
    /// Pings of ours whose pongs cost nothing.
    private var owedPongs: UInt32 = 0

    /// Makes a full allowance.
    public init() {}

    /// A ping has gone out, and one pong comes free.
    public mutating func pingSent() {
        if owedPongs < .max { owedPongs += 1 }
    }

    /// Counts a frame of the client.
    ///
    /// - Parameters:
    ///   - limit: The rate; nil for none.
    ///   - isDry: Nobody waits, so what came too soon leaves no debt.
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
