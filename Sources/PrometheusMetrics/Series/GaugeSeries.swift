internal import CoreMetrics
internal import Synchronization

/// One gauge time series: a number that is set or moved.
final class GaugeSeries: MeterHandler, RecorderHandler {
    let identity: SeriesIdentity
    private let prefix: String
    private let bits = Atomic<UInt64>(0)

    init(identity: SeriesIdentity) {
        self.identity = identity
        self.prefix = identity.samplePrefix()
    }

    func set(_ value: Int64) { self.set(Double(value)) }

    func set(_ value: Double) { self.bits.store(value.bitPattern, ordering: .relaxed) }

    /// Amounts that would poison the sum for good (not a number, infinite) are ignored.
    func increment(by amount: Double) {
        guard amount.isFinite else { return }
        self.bits.addDouble(amount)
    }

    func decrement(by amount: Double) { self.increment(by: -amount) }

    func record(_ value: Int64) { self.set(Double(value)) }

    func record(_ value: Double) { self.set(value) }

    func render(into output: inout Exposition) {
        output.sample(self.prefix, Double(bitPattern: self.bits.load(ordering: .relaxed)))
    }
}

/// One time series that is read when it is scraped, for numbers that someone else already keeps.
final class CallbackSeries: Sendable {
    let identity: SeriesIdentity
    private let prefix: String
    private let read: @Sendable () -> Double

    init(identity: SeriesIdentity, read: @escaping @Sendable () -> Double) {
        self.identity = identity
        self.prefix = identity.samplePrefix()
        self.read = read
    }

    /// Writes nothing when the number is not known right now, which `read` says with NaN.
    func render(into output: inout Exposition) {
        let value = self.read()
        guard !value.isNaN else { return }
        output.sample(self.prefix, value)
    }
}
