import Synchronization

/// What waits to be sent to clients, over all event loops (`MAX_TOTAL_SEND_BUFFER_BYTES`): how many bytes, and for how
/// many connections.
///
/// Who takes what it gets holds nothing and is never asked. Beyond the limit a connection may hold its ``share`` and no
/// more, so what goes first is what those hold who read least.
public final class SendBudget: Sendable {
    private let bytes = Atomic<Int>(0)
    private let connections = Atomic<Int>(0)

    /// The limit in bytes; `Int.max` for none.
    public let limit: Int

    /// Makes an empty budget.
    public init(limit: Int) {
        self.limit = limit
    }

    /// Bytes that wait now.
    public var held: Int { bytes.load(ordering: .relaxed) }
    /// Connections for which any wait.
    public var holders: Int { connections.load(ordering: .relaxed) }
    /// True when more waits than may.
    public var isExceeded: Bool { held > limit }
    /// True until a sixteenth of the limit is free: when room is made it is made for several, since to find those who
    /// hold the most is work.
    public var isTight: Bool { held > limit - limit / 16 }
    /// What each connection could hold if all that hold something held the same, in bytes.
    public var share: Int { limit / max(holders, 1) }

    /// Notes that a connection holds other than it did.
    public func change(from old: Int, to new: Int) {
        guard old != new else { return }
        bytes.wrappingAdd(new &- old, ordering: .relaxed)
        if old == 0 {
            connections.wrappingAdd(1, ordering: .relaxed)
        } else if new == 0 {
            connections.wrappingSubtract(1, ordering: .relaxed)
        }
    }

    /// What a connection may hold that is to get more, in bytes.
    ///
    /// - Parameters:
    ///   - most: The limit of one connection.
    ///   - byteCount: What it is to get.
    public func allowance(upTo most: Int, adding byteCount: Int) -> Int {
        held > limit - byteCount ? min(most, share) : most
    }
}
