public import CoreMetrics
internal import Synchronization

/// A swift-metrics backend that Prometheus can scrape.
///
/// Labels in the sense of swift-metrics are complete metric names here (`sidesocket_messages_total`), its dimensions are
/// labels. Making or destroying a series takes a lock; recording never does. Nothing traps: a name that is not valid is
/// made valid, and a series that can't be had is counted in ``refusedSeries`` and works, but isn't exposed.
public final class PrometheusRegistry: MetricsFactory, Sendable {
    /// How many requests for a series could not be met as asked.
    public struct RefusedSeries: Sendable, Equatable {
        /// Asked for beyond the bound of series per name; they share one whose label values are `other`.
        public var overLimit = 0
        /// Asked for as another kind than the name has; not exposed.
        public var wrongKind = 0
    }

    /// Series of one name at most; beyond it they share one whose label values are `other`.
    public static let maxSeriesPerName = 1_000

    /// The buckets of histograms that nobody described, in seconds.
    public static let defaultBuckets: [Double] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

    private struct State {
        var families: [String: MetricFamily] = [:]
        var refused = RefusedSeries()
    }

    private let state: Mutex<State>

    /// Creates a registry that knows these metrics; others work too, with default help and buckets.
    ///
    /// Nothing is exposed under a name before its first series is asked for.
    public init(descriptions: [MetricDescription] = []) {
        var state = State()
        for description in descriptions {
            let name = Self.familyName(description.name, kind: description.kind)
            state.families[name] = MetricFamily(name: name, help: description.help, kind: description.kind)
        }
        self.state = Mutex(state)
    }

    /// How many requests for a series could not be met as asked, since the start.
    public var refusedSeries: RefusedSeries { self.state.withLock { $0.refused } }

    // MARK: Series read at scrape

    /// Exposes a gauge that is read at each scrape, in place of an earlier series with the same labels.
    ///
    /// `read` may be called from any thread; NaN leaves the sample out.
    public func gauge(
        _ name: String,
        labels: [(String, String)] = [],
        read: @escaping @Sendable () -> Double
    ) {
        self.insertCallback(name, labels, kind: .gauge, read: read)
    }

    /// Exposes a counter that is read at each scrape, in place of an earlier series with the same labels.
    ///
    /// `read` must never fall; it may be called from any thread; NaN leaves the sample out.
    public func counter(
        _ name: String,
        labels: [(String, String)] = [],
        read: @escaping @Sendable () -> Double
    ) {
        self.insertCallback(name, labels, kind: .counter, read: read)
    }

    private func insertCallback(
        _ name: String,
        _ labels: [(String, String)],
        kind: MetricDescription.Kind,
        read: @escaping @Sendable () -> Double
    ) {
        self.state.withLock { state in
            var family = Self.family(name, kind: kind, in: state)
            guard family.kind == kind else {
                state.refused.wrongKind += 1
                return
            }
            guard family.insertCallback(labels, limit: Self.maxSeriesPerName, read: read) else {
                state.refused.overLimit += 1
                return
            }
            state.families[family.name] = family
        }
    }

    // MARK: MetricsFactory

    /// Makes a counter, or returns the one that already has these labels.
    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        self.counterSeries(label, dimensions)
    }

    /// Makes a counter that takes fractions, or returns the one that already has these labels.
    public func makeFloatingPointCounter(
        label: String,
        dimensions: [(String, String)]
    ) -> any FloatingPointCounterHandler {
        self.counterSeries(label, dimensions)
    }

    /// Makes a gauge, or returns the one that already has these labels.
    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        if case .gauge(let series) = self.series(label, dimensions, kind: .gauge) { return series }
        return GaugeSeries(identity: self.refuseKind(label))
    }

    /// Makes a histogram (`aggregate`) or a gauge, whichever the name is described as if it is.
    public func makeRecorder(
        label: String,
        dimensions: [(String, String)],
        aggregate: Bool
    ) -> any RecorderHandler {
        let kind = aggregate ? Self.defaultHistogram : .gauge
        switch self.series(label, dimensions, kind: kind) {
        case .gauge(let series): return series
        case .histogram(let series): return series
        case .counter, .callback: return GaugeSeries(identity: self.refuseKind(label))
        }
    }

    /// Makes a histogram in seconds, or returns the one that already has these labels.
    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        if case .histogram(let series) = self.series(label, dimensions, kind: Self.defaultHistogram) { return series }
        return HistogramSeries(identity: self.refuseKind(label), buckets: [])
    }

    /// Forgets a counter.
    public func destroyCounter(_ handler: any CounterHandler) { self.remove(handler) }

    /// Forgets a counter that takes fractions.
    public func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) { self.remove(handler) }

    /// Forgets a gauge.
    public func destroyMeter(_ handler: any MeterHandler) { self.remove(handler) }

    /// Forgets a recorder.
    public func destroyRecorder(_ handler: any RecorderHandler) { self.remove(handler) }

    /// Forgets a timer.
    public func destroyTimer(_ handler: any TimerHandler) { self.remove(handler) }

    // MARK: Exposition

    /// Writes every series for a scraper, sorted by name and labels.
    public func render(_ format: ExpositionFormat) -> String {
        // The lock is for the lists only: numbers are atomic, and callbacks may take their time or make series.
        let families = self.state.withLock { state in Array(state.families.values) }
        var output = Exposition(format: format, reservingBytes: 16 * 1_024)
        for family in families.sorted(by: { $0.name < $1.name }) where !family.series.isEmpty {
            output.family(name: family.name, help: family.help, kind: family.kind)
            for (_, series) in family.series.sorted(by: { $0.key < $1.key }) {
                series.render(into: &output)
            }
        }
        output.end()
        return output.text
    }

    // MARK: Finding series

    private static let defaultHistogram = MetricDescription.Kind.histogram(buckets: defaultBuckets)

    private func counterSeries(_ name: String, _ dimensions: [(String, String)]) -> CounterSeries {
        if case .counter(let series) = self.series(name, dimensions, kind: .counter) { return series }
        return CounterSeries(identity: self.refuseKind(name))
    }

    private func series(_ name: String, _ dimensions: [(String, String)], kind: MetricDescription.Kind) -> Series {
        self.state.withLock { state in
            var family = Self.family(name, kind: kind, in: state)
            switch family.series(dimensions, limit: Self.maxSeriesPerName) {
            case .found(let series):
                return series
            case .made(let series):
                state.families[family.name] = family
                return series
            case .overflowed(let series):
                state.refused.overLimit += 1
                state.families[family.name] = family
                return series
            }
        }
    }

    /// Counts a request that the name's kind doesn't allow, and gives the identity of a series that nobody sees.
    private func refuseKind(_ name: String) -> SeriesIdentity {
        self.state.withLock { $0.refused.wrongKind += 1 }
        return SeriesIdentity(name: name, dimensions: [])
    }

    private func remove(_ handler: AnyObject) {
        let identity: SeriesIdentity
        switch handler {
        case let series as CounterSeries: identity = series.identity
        case let series as GaugeSeries: identity = series.identity
        case let series as HistogramSeries: identity = series.identity
        default: return
        }
        self.state.withLock { state in
            state.families[identity.name]?.remove(identity, object: handler)
        }
    }

    /// The family that already has the name, or a new, empty one of the kind asked for.
    private static func family(_ name: String, kind: MetricDescription.Kind, in state: State) -> MetricFamily {
        if let family = state.families[name] { return family }
        let full = Self.familyName(name, kind: kind)
        return state.families[full] ?? MetricFamily(name: full, help: "Not described.", kind: kind)
    }

    /// A valid name, which for counters ends in `_total`: OpenMetrics allows no other.
    private static func familyName(_ name: String, kind: MetricDescription.Kind) -> String {
        let valid = SeriesIdentity.metricName(name)
        return kind == .counter && !valid.hasSuffix("_total") ? valid + "_total" : valid
    }
}
