/// All series of one name, at most a fixed number of them.
struct MetricFamily: Sendable {
    /// Whether a label combination was found, made or had to share the series for all the rest.
    enum Lookup {
        case found(Series)
        case made(Series)
        case overflowed(Series)
    }

    let name: String
    let help: String
    let kind: MetricDescription.Kind
    private(set) var series: [String: Series] = [:]
    /// The labels of the series that takes all that is beyond the bound.
    private var overflowLabels: String?

    init(name: String, help: String, kind: MetricDescription.Kind) {
        self.name = name
        self.help = help
        self.kind = kind
    }

    /// The series with these labels, made when there is none; beyond `limit` the one whose label values are `other`.
    mutating func series(_ dimensions: [(String, String)], limit: Int) -> Lookup {
        let identity = SeriesIdentity(name: self.name, dimensions: dimensions)
        if let existing = self.series[identity.labels] { return .found(existing) }
        guard self.series.count >= limit else {
            return .made(self.insert(Series.make(identity: identity, kind: self.kind), labels: identity.labels))
        }
        if let labels = self.overflowLabels, let existing = self.series[labels] { return .overflowed(existing) }
        let rest = SeriesIdentity(name: self.name, dimensions: dimensions.map { ($0.0, "other") })
        self.overflowLabels = rest.labels
        if let existing = self.series[rest.labels] { return .overflowed(existing) }
        return .overflowed(self.insert(Series.make(identity: rest, kind: self.kind), labels: rest.labels))
    }

    /// Sets the series of these labels to one that is read at scrape; false when the family is full.
    mutating func insertCallback(
        _ dimensions: [(String, String)],
        limit: Int,
        read: @escaping @Sendable () -> Double
    ) -> Bool {
        let identity = SeriesIdentity(name: self.name, dimensions: dimensions)
        guard self.series[identity.labels] != nil || self.series.count < limit else { return false }
        _ = self.insert(.callback(CallbackSeries(identity: identity, read: read)), labels: identity.labels)
        return true
    }

    /// Forgets a series; the one for all the rest stays, since it belongs to many.
    mutating func remove(_ identity: SeriesIdentity, object: AnyObject) {
        guard identity.labels != self.overflowLabels, self.series[identity.labels]?.object === object else { return }
        self.series[identity.labels] = nil
    }

    private mutating func insert(_ series: Series, labels: String) -> Series {
        self.series[labels] = series
        return series
    }
}
