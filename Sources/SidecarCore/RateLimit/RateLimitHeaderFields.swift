import NIOCore

/// The fields that tell a client of a rate limit: `RateLimit-Policy`, `RateLimit` and `Retry-After`.
///
/// The first two follow draft-ietf-httpapi-ratelimit-headers in its form with structured fields (RFC 9651), the last
/// RFC 9110 §10.2.3.
public struct RateLimitHeaderFields: Sendable {
    /// The value of `RateLimit-Policy`, such as `"connect";q=20;w=1`.
    public let policy: String

    private let name: String

    /// Prepares the fields of one limit.
    ///
    /// The window is in whole seconds: any other period is rounded up to the next second, with the quota that the rate
    /// allows in that time.
    ///
    /// - Parameters:
    ///   - name: What the policy is called; characters other than printable ASCII are left out.
    ///   - rate: The rate of the limit.
    public init(policy name: String, rate: Rate) {
        let window = Self.seconds(rate.period.nanoseconds)
        let allowed = Int128(rate.count) * Int128(window) * 1_000_000_000 / Int128(max(rate.period.nanoseconds, 1))
        let quota = min(allowed, Int128(Self.largestInteger))
        let unit = rate.unit == .bytes ? ";qu=\"content-bytes\"" : ""
        self.name = Self.quoted(name)
        self.policy = "\(self.name);q=\(quota)\(unit);w=\(window)"
    }

    /// Prepares the fields of a limit on how many may exist at once, which has no window.
    public init(policy name: String, atOnce count: Int) {
        let quota = min(Int64(clamping: max(count, 0)), Self.largestInteger)
        self.name = Self.quoted(name)
        self.policy = "\(self.name);q=\(quota)"
    }

    /// `RateLimit-Policy`, `RateLimit` and `Retry-After` for a request that was refused.
    ///
    /// The last two give the same moment, as the draft asks.
    ///
    /// - Parameter retryAfter: Nanoseconds, from the verdict.
    public func refused(retryAfter: Int64) -> [ResponseField] {
        let seconds = Self.retryAfterSeconds(retryAfter)
        return [
            ResponseField("RateLimit-Policy", policy), ResponseField("RateLimit", "\(name);r=0;t=\(seconds)"),
            ResponseField("Retry-After", "\(seconds)"),
        ]
    }

    /// Nanoseconds as the value of `Retry-After`: seconds rounded up, at least 1.
    public static func retryAfterSeconds(_ nanoseconds: Int64) -> Int {
        Int(max(seconds(nanoseconds), 1))
    }

    // MARK: - Structured fields

    /// The largest Integer of a structured field (RFC 9651 §3.3.1).
    private static let largestInteger: Int64 = 999_999_999_999_999

    private static func seconds(_ nanoseconds: Int64) -> Int64 {
        guard nanoseconds > 0 else { return 0 }
        return (nanoseconds - 1) / 1_000_000_000 + 1
    }

    /// A String of a structured field (RFC 9651 §3.3.3).
    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars where scalar.value >= 0x20 && scalar.value < 0x7F {
            if scalar == "\"" || scalar == "\\" { result += "\\" }
            result.unicodeScalars.append(scalar)
        }
        return result + "\""
    }
}
