import Synchronization

/// A number of bytes shared by all event loops: what is held now, against a limit.
///
/// The value behind `MAX_TOTAL_PENDING_BYTES`. Nobody is refused: who finds the budget spent stops reading until
/// others have given back.
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

    /// Adds bytes, or gives them back when negative.
    public func adjust(by bytes: Int) {
        if bytes != 0 { used.wrappingAdd(bytes, ordering: .relaxed) }
    }
}
