/// The text of one scrape while it is being written.
struct Exposition {
    private(set) var text: String
    private let format: ExpositionFormat

    init(format: ExpositionFormat, reservingBytes bytes: Int = 0) {
        self.format = format
        self.text = ""
        self.text.reserveCapacity(bytes)
    }

    /// Writes the HELP and TYPE lines of a metric family.
    mutating func family(name: String, help: String, kind: MetricDescription.Kind) {
        let family: String
        let type: String
        switch kind {
        case .counter:
            // OpenMetrics names the family without the suffix that its samples carry.
            family = self.format == .openMetrics ? String(name.dropLast("_total".count)) : name
            type = "counter"
        case .gauge:
            family = name
            type = "gauge"
        case .histogram:
            family = name
            type = "histogram"
        }
        let escapedHelp = SeriesIdentity.escaped(help, quotes: self.format == .openMetrics)
        self.text += "# HELP \(family) \(escapedHelp)\n# TYPE \(family) \(type)\n"
    }

    mutating func sample(_ prefix: String, _ value: UInt64) {
        self.text += prefix
        self.text += String(value)
        self.text += "\n"
    }

    mutating func sample(_ prefix: String, _ value: Double) {
        self.text += prefix
        self.text += Self.number(value)
        self.text += "\n"
    }

    mutating func end() {
        if self.format == .openMetrics {
            self.text += "# EOF\n"
        }
    }

    /// A number as both formats read it, whole ones without a fraction.
    static func number(_ value: Double) -> String {
        // Up to 2^53 every whole number is exact, and far from where the conversion would fail.
        if abs(value) <= 9_007_199_254_740_992, value == value.rounded(.towardZero) {
            return String(Int64(value))
        }
        return Self.text(value)
    }

    /// A number with its fraction, as OpenMetrics wants the bounds of buckets: `1.0`, `0.005`, `+Inf`.
    static func text(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return value.description
    }
}
