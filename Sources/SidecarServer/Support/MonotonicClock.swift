import NIOCore

/// The clock of all rates and bans; it never jumps.
enum MonotonicClock {
    /// Nanoseconds since some moment.
    static func now() -> Int64 { Int64(clamping: NIODeadline.now().uptimeNanoseconds) }
}
