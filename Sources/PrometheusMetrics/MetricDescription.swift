/// What a metric is called, what it means and how it is kept.
public struct MetricDescription: Sendable, Equatable {
    /// How the samples of a metric are kept.
    public enum Kind: Sendable, Equatable {
        /// Only grows; its name ends in `_total`.
        case counter
        /// Goes up and down.
        case gauge
        /// Counts samples by size; `buckets` are inclusive upper bounds in the metric's base unit.
        case histogram(buckets: [Double])
    }

    /// The complete name, with prefix, unit and suffix.
    public var name: String
    /// One sentence for the HELP line.
    public var help: String
    /// How its samples are kept.
    public var kind: Kind

    /// Describes a metric; nothing is registered until a series is asked for.
    public init(name: String, help: String, kind: Kind) {
        self.name = name
        self.help = help
        self.kind = kind
    }
}
