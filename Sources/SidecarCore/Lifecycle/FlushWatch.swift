public import NIOCore

/// Tells a slow reader from a dead one while the last bytes of a connection are sent.
public struct FlushWatch: Sendable {
    private let patience: TimeAmount
    private var unsent = Int.max
    private var progressAt: NIODeadline = .uptimeNanoseconds(0)

    /// Makes a watch.
    ///
    /// - Parameter patience: The reader counts as dead when it takes no byte for this long.
    public init(patience: TimeAmount) {
        self.patience = patience
    }

    /// The last bytes were written at `now`.
    public mutating func begin(at now: NIODeadline) {
        progressAt = now
        unsent = .max
    }

    /// True while bytes are unsent and the reader has taken some within `patience`.
    public mutating func isProgressing(unsentBytes: Int, at now: NIODeadline) -> Bool {
        guard unsentBytes > 0 else { return false }
        if unsentBytes < unsent {
            unsent = unsentBytes
            progressAt = now
        }
        return now - progressAt < patience
    }
}
