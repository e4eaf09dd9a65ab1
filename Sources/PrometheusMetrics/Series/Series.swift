/// A time series of any kind, as the registry keeps it.
enum Series: Sendable {
    case counter(CounterSeries)
    case gauge(GaugeSeries)
    case histogram(HistogramSeries)
    case callback(CallbackSeries)

    var object: AnyObject {
        switch self {
        case .counter(let series): series
        case .gauge(let series): series
        case .histogram(let series): series
        case .callback(let series): series
        }
    }

    func render(into output: inout Exposition) {
        switch self {
        case .counter(let series): series.render(into: &output)
        case .gauge(let series): series.render(into: &output)
        case .histogram(let series): series.render(into: &output)
        case .callback(let series): series.render(into: &output)
        }
    }

    static func make(identity: SeriesIdentity, kind: MetricDescription.Kind) -> Series {
        switch kind {
        case .counter: .counter(CounterSeries(identity: identity))
        case .gauge: .gauge(GaugeSeries(identity: identity))
        case .histogram(let buckets): .histogram(HistogramSeries(identity: identity, buckets: buckets))
        }
    }
}
