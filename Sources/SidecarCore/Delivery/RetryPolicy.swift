public import NIOCore

/// When an event that the app did not accept is tried again.
///
/// Full jitter: a random time within a window that doubles from ``firstWindow`` to ``largestWindow``, so that events
/// that failed together are not retried together. The app's `Retry-After` (RFC 9110 §10.2.3) is a minimum. The last
/// attempt is made at the end of the time for retries, whatever the window says.
public struct RetryPolicy: Sendable, Equatable {
    /// The window after the first failure.
    public static let firstWindow = TimeAmount.milliseconds(100)
    /// The largest window.
    public static let largestWindow = TimeAmount.seconds(5)

    /// How long an event is retried, from when its first attempt was due; zero for a single attempt.
    public let retryFor: TimeAmount

    /// Makes a policy.
    public init(retryFor: TimeAmount) {
        self.retryFor = retryFor
    }

    /// The wait before the next attempt; nil when it was the last one.
    ///
    /// - Parameters:
    ///   - failures: Attempts that have failed, at least 1.
    ///   - since: When the first attempt was due.
    ///   - retryAfter: What the app asked for, if anything.
    ///   - jitter: A random number from 0 up to 1.
    public func delay(
        afterFailures failures: Int,
        since: NIODeadline,
        now: NIODeadline,
        retryAfter: TimeAmount?,
        jitter: Double
    ) -> TimeAmount? {
        let left = since + retryFor - now
        guard retryFor > .zero, left > .zero else { return nil }
        let doublings = min(max(failures, 1) - 1, 16)
        let window = min(Self.firstWindow.nanoseconds << Int64(doublings), Self.largestWindow.nanoseconds)
        let wait = TimeAmount.nanoseconds(Int64(Double(window) * min(max(jitter, 0), 1)))
        return min(max(wait, retryAfter ?? .zero), left)
    }

    /// The longest `Retry-After` that is honoured, in seconds.
    private static let longestRetryAfter: Int64 = 86_400

    /// Reads a `Retry-After` (RFC 9110 §10.2.3), seconds or a date; nil for anything else. A day is the most.
    ///
    /// - Parameter now: The time in milliseconds since 1970.
    public static func retryAfter(_ field: String?, unixMilliseconds now: Int64) -> TimeAmount? {
        guard let field, !field.isEmpty, field.utf8.count <= 64 else { return nil }
        if field.utf8.allSatisfy({ 48...57 ~= $0 }) {
            return .seconds(min(Int64(field) ?? longestRetryAfter, longestRetryAfter))
        }
        guard let date = HTTPDate.unixSeconds(field) else { return nil }
        return .seconds(min(max(date - now / 1_000, 0), longestRetryAfter))
    }
}
