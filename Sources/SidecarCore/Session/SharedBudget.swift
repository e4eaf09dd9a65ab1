import Synchronization

/// A number of bytes shared by all event loops: what is held now, and a limit.
///
/// Used for `MAX_TOTAL_PENDING_BYTES`. Nothing is refused: a connection that finds the budget spent stops reading until
/// others have returned bytes.
public final class SharedBudget: Sendable {
    private let used = Atomic<Int>(0)

    /// The limit in bytes.
    public let limit: Int

    /// Makes an empty budget with a limit in bytes.
    public init(limit: Int) {
        self.limit = limit
    }

    /// Bytes held now.
    public var held: Int { used.load(ordering: .relaxed) }
    /// True while the limit is reached.
    public var isSpent: Bool { held >= limit }

    /// Adds bytes, or returns them when negative.
    public func adjust(by bytes: Int) {
        if bytes != 0 { used.wrappingAdd(bytes, ordering: .relaxed) }
    }
}
