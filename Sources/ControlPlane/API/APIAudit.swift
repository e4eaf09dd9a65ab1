internal import NIOCore
internal import NIOPosix
internal import SidecarCore
internal import Synchronization

/// Records what is done through the API: every change, and of the calls that came to nothing a few of each address. The
/// rest of these is counted, and summed up in one line a minute: whoever is refused must not be able to fill the disk.
final class APIAudit: Sendable {
    /// How many calls of an address that came to nothing have a line of their own.
    static let rate = Rate(1, per: .seconds(1), burst: 100)
    /// Networks of this length count as one address.
    private static let ipv6PrefixLength = 64
    private static let maxPeers = 1_000

    private struct Unlogged: Sendable {
        var counts: [String: Int] = [:]
        var isScheduled = false
    }

    private let write: @Sendable (AuditRecord) -> Void
    private let onLimited: @Sendable () -> Void
    private let interval: TimeAmount
    private let limit: RateLimitTable
    private let unlogged = Mutex(Unlogged())

    /// - Parameters:
    ///   - interval: The time between two lines about the rest.
    ///   - onLimited: Called for each call of the rest.
    ///   - write: Takes the records.
    init(
        interval: TimeAmount = .minutes(1),
        onLimited: @escaping @Sendable () -> Void = {},
        _ write: @escaping @Sendable (AuditRecord) -> Void
    ) {
        self.write = write
        self.onLimited = onLimited
        self.interval = interval
        var random = SystemRandomNumberGenerator()
        limit = RateLimitTable(GCRA(Self.rate), capacity: 4_096, seed: (random.next(), random.next()))
    }

    /// Records a change, or why it was not made.
    ///
    /// - Parameter peer: The address that the call came from, or `unix:`.
    /// - Returns: For one call too many that came to nothing, how long the address should wait, in nanoseconds.
    @discardableResult
    func record(
        _ action: AuditRecord.Action,
        _ target: String,
        by peer: String,
        _ outcome: AuditRecord.Outcome,
        _ detail: String = ""
    ) -> Int64? {
        let record = AuditRecord(action: action, who: "api \(peer)", target: target, outcome: outcome, detail: detail)
        guard outcome != .ok, case .limited(let wait) = limit.take(Self.key(of: peer), now: Self.now()) else {
            write(record)
            return nil
        }
        onLimited()
        if count(peer) {
            MultiThreadedEventLoopGroup.singleton.any().scheduleTask(in: interval) { self.writeSummary() }
        }
        return wait
    }

    /// Records how many calls had no line of their own since the last time.
    func writeSummary() {
        let rest = unlogged.withLock { unlogged in
            defer { unlogged = Unlogged() }
            return unlogged.counts
        }
        for (peer, count) in rest.sorted(by: { $0.key < $1.key }) {
            write(
                AuditRecord(
                    action: .refusedCall,
                    who: "api \(peer)",
                    target: "",
                    outcome: .refused,
                    detail: "\(count) more failed calls"
                )
            )
        }
    }

    /// True when nobody will look yet.
    private func count(_ peer: String) -> Bool {
        unlogged.withLock { unlogged in
            let isKnown = unlogged.counts[peer] != nil || unlogged.counts.count < Self.maxPeers
            unlogged.counts[isKnown ? peer : "others", default: 0] += 1
            defer { unlogged.isScheduled = true }
            return !unlogged.isScheduled
        }
    }

    private static func key(of peer: String) -> AddressKey {
        let address = IPAddress(peer).map { RateLimitKey($0, ipv6PrefixLength: ipv6PrefixLength) }
        return (address ?? .withoutAddress).addressKey
    }

    private static func now() -> Int64 { Int64(clamping: NIODeadline.now().uptimeNanoseconds) }
}
