import CoreMetrics
import NIOCore

/// The metrics of a node's part in the cluster.
final class ClusterMetrics: Sendable {
    /// Why a publication was not stored.
    enum PublishFailure: String, CaseIterable, Sendable {
        /// The engine was away until its time was over.
        case engineAway = "engine_away"
        /// The engine refused it.
        case refused
        /// Too much was waiting already.
        case full
        /// Fewer replicas than `CLUSTER_MIN_REPLICAS` have it.
        case tooFewReplicas = "too_few_replicas"
        /// Its outcome is not known; it may have been published.
        case unknown
    }

    private let gaps: [GapCause: Counter]
    private let failures: [PublishFailure: Counter]
    private let resyncs: [String: Counter]
    private let lost = Counter(label: "sidesocket_publish_failures_total", dimensions: [("reason", "lost")])
    private let lostUntold = Counter(
        label: "sidesocket_publish_failures_total",
        dimensions: [("reason", "lost_untold")]
    )
    /// From publishing on another node to receiving it here.
    let lag = Timer(label: "sidesocket_cluster_lag_seconds")
    /// The round trip of a probe.
    let probe = Timer(label: "sidesocket_cluster_probe_seconds")
    /// Nodes that this one has found lost.
    let lostNodes = Counter(label: "sidesocket_cluster_lost_nodes_total")
    /// Attempts to connect after the first.
    let reconnects = Counter(label: "sidesocket_cluster_reconnects_total")

    init() {
        gaps = Dictionary(
            uniqueKeysWithValues: GapCause.allCases.map {
                ($0, Counter(label: "sidesocket_gaps_total", dimensions: [("cause", $0.rawValue)]))
            }
        )
        failures = Dictionary(
            uniqueKeysWithValues: PublishFailure.allCases.map {
                ($0, Counter(label: "sidesocket_publish_failures_total", dimensions: [("reason", $0.rawValue)]))
            }
        )
        var resyncs: [String: Counter] = [:]
        for cause in GapCause.allCases {
            for result in ["complete", "gap"] {
                resyncs[cause.rawValue + result] = Counter(
                    label: "sidesocket_cluster_resyncs_total",
                    dimensions: [("cause", cause.rawValue), ("result", result)]
                )
            }
        }
        self.resyncs = resyncs
    }

    /// Messages of a channel are lost.
    func gap(_ cause: GapCause) { gaps[cause]?.increment() }

    /// A channel was compared with the engine.
    func resynced(_ cause: GapCause, isComplete: Bool) {
        resyncs[cause.rawValue + (isComplete ? "complete" : "gap")]?.increment()
    }

    /// A publication was given up.
    func publishFailed(_ reason: PublishFailure) { failures[reason]?.increment() }

    /// A publication that the engine had confirmed is lost, and its subscribers are told.
    func publicationLost() { lost.increment() }

    /// So many publications that the engine had confirmed are lost, and too many were waiting to tell their subscribers.
    func publicationsLostUntold(_ count: Int) { lostUntold.increment(by: count) }
}
