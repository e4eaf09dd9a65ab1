import NIOCore
import SidecarCore
import Synchronization

/// What other nodes tell of publications of this one, for which somebody waits (`?wait=written`).
final class WriteReports: Sendable {
    private struct Expected: Sendable {
        var counts: [NodeID: DeliveryCounts] = [:]
        /// The nodes that are waited for; nil while that is not known.
        var nodes: Set<NodeID>?
        var continuation: CheckedContinuation<Void, Never>?
        var isRepeat = false

        var isComplete: Bool { isRepeat || nodes?.isSubset(of: counts.keys) ?? false }
    }

    /// By the names of the reports. Each belongs to a call of the API that is under way.
    private let expected = Mutex<[String: Expected]>([:])

    /// From now on reports of this name are kept.
    func expect(_ report: String) { expected.withLock { $0[report] = Expected() } }

    /// Nobody will report: it is a repeat.
    func expectNobody(_ report: String) {
        let waiting = expected.withLock { expected -> CheckedContinuation<Void, Never>? in
            guard var one = expected[report] else { return nil }
            one.isRepeat = true
            let waiting = one.continuation.take()
            expected[report] = one
            return waiting
        }
        waiting?.resume()
    }

    /// Whether it is a repeat, which nobody reports.
    func isRepeat(_ report: String) -> Bool { expected.withLock { $0[report]?.isRepeat ?? false } }

    func forget(_ report: String) { expected.withLock { $0[report] = nil } }

    /// A node has reported.
    func add(_ counts: DeliveryCounts, of node: NodeID, to report: String) {
        let waiting = expected.withLock { expected -> CheckedContinuation<Void, Never>? in
            guard var one = expected[report], one.nodes?.contains(node) ?? true else { return nil }
            one.counts[node] = counts
            let waiting = one.isComplete ? one.continuation.take() : nil
            expected[report] = one
            return waiting
        }
        waiting?.resume()
    }

    /// Waits for the reports of these nodes, at most for a time.
    func wait(for report: String, from nodes: Set<NodeID>, _ timeout: TimeAmount) async -> [NodeID: DeliveryCounts] {
        let timer = Task {
            try await Task.sleep(for: .nanoseconds(timeout.nanoseconds))
            expected.withLock { $0[report]?.continuation.take() }?.resume()
        }
        defer { timer.cancel() }
        await withCheckedContinuation { continuation in
            let isComplete = expected.withLock { expected in
                guard var one = expected[report] else { return true }
                one.nodes = nodes
                if !one.isComplete { one.continuation = continuation }
                expected[report] = one
                return one.isComplete
            }
            if isComplete { continuation.resume() }
        }
        return expected.withLock { expected in
            (expected[report]?.counts ?? [:]).filter { nodes.contains($0.key) }
        }
    }
}
