/// The text formats in which Prometheus reads metrics.
public enum ExpositionFormat: Sendable, Equatable {
    /// Prometheus text format 0.0.4.
    case text004
    /// OpenMetrics 1.0.0.
    case openMetrics
}
