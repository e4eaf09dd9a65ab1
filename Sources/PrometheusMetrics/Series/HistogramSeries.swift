internal import CoreMetrics
internal import Synchronization

/// One histogram time series: bucket counts and a sum, without a lock.
final class HistogramSeries: RecorderHandler, TimerHandler {
    static let nanosecondsPerSecond = 1e9

    let identity: SeriesIdentity
    private let bounds: [Double]
    private let bucketPrefixes: [String]
    private let sumPrefix: String
    private let countPrefix: String
    private let counts: AtomicCells
    private let sumBits = Atomic<UInt64>(0)

    /// - Parameter buckets: upper bounds in any order; the bucket for everything above them is implied.
    init(identity: SeriesIdentity, buckets: [Double]) {
        var bounds: [Double] = []
        for bound in buckets.filter({ $0.isFinite }).sorted() where bounds.last != bound {
            bounds.append(bound)
        }
        self.identity = identity
        self.bounds = bounds
        self.bucketPrefixes = (bounds + [.infinity]).map { bound in
            identity.samplePrefix(suffix: "_bucket", extraLabel: "le=\"\(Exposition.text(bound))\"")
        }
        self.sumPrefix = identity.samplePrefix(suffix: "_sum")
        self.countPrefix = identity.samplePrefix(suffix: "_count")
        self.counts = AtomicCells(count: bounds.count + 1)
    }

    /// A clock that went backwards counts as no time at all.
    func recordNanoseconds(_ duration: Int64) {
        // Dividing is exact to the last bit where multiplying by 1e-9 is not, so that 100 ms is in the bucket of 0.1.
        self.record(Double(max(duration, 0)) / Self.nanosecondsPerSecond)
    }

    func record(_ value: Int64) { self.record(Double(value)) }

    /// Values that would poison the sum for good (not a number, infinite) are ignored.
    func record(_ value: Double) {
        guard value.isFinite else { return }
        self.counts.increment(at: self.bucket(for: value))
        self.sumBits.addDouble(value)
    }

    /// The index of the first bound that is not below `value`.
    private func bucket(for value: Double) -> Int {
        var low = 0
        var high = self.bounds.count
        while low < high {
            let middle = (low + high) / 2
            if self.bounds[middle] < value {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return low
    }

    func render(into output: inout Exposition) {
        var total: UInt64 = 0
        for index in 0..<self.counts.count {
            total &+= self.counts.load(at: index)
            output.sample(self.bucketPrefixes[index], total)
        }
        output.sample(self.sumPrefix, Double(bitPattern: self.sumBits.load(ordering: .relaxed)))
        // Added up rather than kept, so that the count always equals the last bucket, also amid records.
        output.sample(self.countPrefix, total)
    }
}
