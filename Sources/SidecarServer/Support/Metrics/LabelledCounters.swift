import CoreMetrics

/// A counter for each value of a label, created at once, so that counting needs no look-up of the series.
struct LabelledCounters<Label: RawRepresentable<String> & CaseIterable & Hashable & Sendable>: Sendable {
    private let counters: [Label: Counter]

    /// - Parameters:
    ///   - name: The metric.
    ///   - label: The label that distinguishes its series.
    ///   - others: Labels that all series have.
    init(_ name: String, _ label: String, beside others: [(String, String)] = []) {
        counters = Dictionary(
            uniqueKeysWithValues: Label.allCases.map {
                ($0, Counter(label: name, dimensions: others + [(label, $0.rawValue)]))
            }
        )
    }

    subscript(_ value: Label) -> Counter {
        guard let counter = counters[value] else { preconditionFailure("a label has a value that is no case") }
        return counter
    }
}
