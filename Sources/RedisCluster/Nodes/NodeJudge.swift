import NIOCore
import SidecarCore

/// Finds out which other nodes are lost: their counters have stood still for the lease, while this node's own link to the
/// engine was up all that time.
struct NodeJudge {
    /// What is to be done after a look at the nodes.
    struct Verdict: Equatable {
        /// Nodes that are lost, by incarnation.
        var lost: [String] = []
        /// Nodes that keep this node's name, by incarnation; told once for each.
        var namesakes: [String] = []
        /// Names that several nodes keep.
        var sharedNames: Set<String> = []
    }

    private struct Sight {
        var counter: UInt64
        /// Since when the counter has stood still.
        var stillSince: NIODeadline
        let seenSince: NIODeadline
        /// Whether it has been alive for two leases: longer than a node that was restarted stays in the list.
        var isEstablished = false
    }

    private let lease: TimeAmount
    private var own: String
    private let name: String
    private var sights: [String: Sight] = [:]
    private var lastLook: NIODeadline?

    /// - Parameters:
    ///   - own: The incarnation of this node.
    ///   - name: Its name.
    init(lease: TimeAmount, own: String, name: String) {
        self.lease = lease
        self.own = own
        self.name = name
    }

    /// The link to the engine was down: what was seen before says nothing about the others.
    mutating func interrupted() { sights = [:] }

    /// The node has a new identity.
    mutating func rename(_ incarnation: NodeID) { own = incarnation }

    /// How soon a node may be found lost whose counter stands still; nil while none does.
    func nextVerdict(_ records: [String: NodeRecord], at now: NIODeadline) -> TimeAmount? {
        sights.compactMap { incarnation, sight in
            guard sight.stillSince < now, let record = records[incarnation] else { return nil }
            return max(.zero, sight.stillSince + patience(with: record) - now)
        }.min()
    }

    /// How long the counter of a node may stand still.
    private func patience(with record: NodeRecord) -> TimeAmount {
        max(lease, .milliseconds(record.info.leaseMilliseconds))
    }

    /// The nodes have been looked at.
    mutating func saw(_ records: [String: NodeRecord], at now: NIODeadline) -> Verdict {
        var verdict = Verdict()
        // This node slept itself: then the others may have, too.
        if let lastLook, now - lastLook > .nanoseconds(lease.nanoseconds / 2) { interrupted() }
        lastLook = now
        sights = sights.filter { records[$0.key] != nil }
        for (incarnation, record) in records where incarnation != own {
            guard var sight = sights[incarnation] else {
                sights[incarnation] = Sight(counter: record.counter, stillSince: now, seenSince: now)
                continue
            }
            if sight.counter != record.counter {
                sight.counter = record.counter
                sight.stillSince = now
                if !sight.isEstablished, now - sight.seenSince >= lease * 2 {
                    sight.isEstablished = true
                    if record.info.name == name { verdict.namesakes.append(incarnation) }
                }
            } else if now - sight.stillSince >= patience(with: record) {
                verdict.lost.append(incarnation)
            }
            sights[incarnation] = sight
        }
        verdict.lost.sort()
        verdict.sharedNames = sharedNames(records)
        return verdict
    }

    private func sharedNames(_ records: [String: NodeRecord]) -> Set<String> {
        let established = sights.filter(\.value.isEstablished).keys.compactMap { records[$0]?.info.name }
        let counts = Dictionary((established + [name]).map { ($0, 1) }, uniquingKeysWith: +)
        return Set(counts.filter { $0.value > 1 }.keys)
    }
}
