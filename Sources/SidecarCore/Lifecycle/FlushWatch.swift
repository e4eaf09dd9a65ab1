public import NIOCore

/// Tells a slow reader from a dead one, while the last bytes of a connection go out.
public struct FlushWatch: Sendable {
    private let patience: TimeAmount
    private var unsent = Int.max
    private var progressAt: NIODeadline = .uptimeNanoseconds(0)

    /// Makes a watch.
    ///
    /// - Parameter patience: How long no byte may go out before the reader counts as dead.
    public init(patience: TimeAmount) {
        self.patience = patience
    }

    /// The last bytes were written at `now`.
    public mutating func begin(at now: NIODeadline) {
        progressAt = now
        unsent = .max
    }

    /// True while bytes are unsent and the reader has taken some of them within the patience.
    public mutating func isProgressing(unsentBytes: Int, at now: NIODeadline) -> Bool {
        guard unsentBytes > 0 else { return false }
        if unsentBytes < unsent {
            unsent = unsentBytes
            progressAt = now
        }
        return now - progressAt < patience
    }
}
