import CoreMetrics

/// A counter for each value of a label, made at once, so that counting costs no search for the series.
struct LabelledCounters<Label: RawRepresentable<String> & CaseIterable & Hashable & Sendable>: Sendable {
    private let counters: [Label: Counter]

    /// - Parameters:
    ///   - name: The metric.
    ///   - label: The label that tells its series apart.
    ///   - others: Labels that all of them have.
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
