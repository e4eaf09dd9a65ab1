internal import CoreMetrics
internal import Synchronization

/// One counter time series: an increment is one relaxed atomic add.
///
/// Whole and fractional increments are kept apart, so that the common case never loops and counts above 2^53 stay exact.
final class CounterSeries: CounterHandler, FloatingPointCounterHandler {
    let identity: SeriesIdentity
    private let prefix: String
    private let whole = Atomic<UInt64>(0)
    private let fractionalBits = Atomic<UInt64>(0)

    init(identity: SeriesIdentity) {
        self.identity = identity
        self.prefix = identity.samplePrefix()
    }

    /// A counter never falls: amounts below zero are ignored.
    func increment(by amount: Int64) {
        guard amount > 0 else { return }
        self.whole.wrappingAdd(UInt64(bitPattern: amount), ordering: .relaxed)
    }

    func increment(by amount: Double) {
        guard amount > 0, amount.isFinite else { return }
        self.fractionalBits.addDouble(amount)
    }

    func reset() {
        self.whole.store(0, ordering: .relaxed)
        self.fractionalBits.store(0, ordering: .relaxed)
    }

    func render(into output: inout Exposition) {
        let whole = self.whole.load(ordering: .relaxed)
        let fraction = Double(bitPattern: self.fractionalBits.load(ordering: .relaxed))
        if fraction == 0 {
            output.sample(self.prefix, whole)
        } else {
            output.sample(self.prefix, Double(whole) + fraction)
        }
    }
}
