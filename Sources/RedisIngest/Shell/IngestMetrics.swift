import CoreMetrics
import NIOCore

/// The metrics of one stream.
struct IngestMetrics: Sendable {
    /// What became of an entry.
    enum Result: String, CaseIterable, Sendable {
        /// The engine has stored its message.
        case published
        /// It cannot be published.
        case bad
        /// It was removed from the stream before it could be published.
        case removed
        /// The engine will never take it.
        case refused
    }

    private let results: [Result: Counter]
    private let lag: Timer

    /// - Parameter source: The stream's name.
    init(source: String) {
        results = Dictionary(
            uniqueKeysWithValues: Result.allCases.map {
                (
                    $0,
                    Counter(
                        label: "sidesocket_ingest_total",
                        dimensions: [("source", source), ("result", $0.rawValue)]
                    )
                )
            }
        )
        lag = Timer(label: "sidesocket_ingest_lag_seconds", dimensions: [("source", source)])
    }

    /// An entry is done.
    func count(_ result: Result) { results[result]?.increment() }

    /// A message is stored, so long after it was added to the stream.
    func stored(after time: TimeAmount) { lag.recordNanoseconds(time.nanoseconds) }
}
