import Synchronization

/// Bytes that wait to be sent to clients, over all event loops (`MAX_TOTAL_SEND_BUFFER_BYTES`), and the number of
/// connections that they wait for.
///
/// A client that reads everything it is sent holds nothing and is not limited. Above the limit a connection may hold
/// only its ``share``, so the clients that read least lose messages first.
public final class SendBudget: Sendable {
    private let bytes = Atomic<Int>(0)
    private let connections = Atomic<Int>(0)

    /// The limit in bytes; `Int.max` for none.
    public let limit: Int

    /// Makes an empty budget.
    public init(limit: Int) {
        self.limit = limit
    }

    /// Bytes that are waiting now.
    public var held: Int { bytes.load(ordering: .relaxed) }
    /// Connections for which bytes are waiting.
    public var holders: Int { connections.load(ordering: .relaxed) }
    /// True when more bytes are waiting than the limit allows.
    public var isExceeded: Bool { held > limit }
    /// True until a sixteenth of the limit is free: finding the connections that hold the most is expensive, so room is
    /// made for several messages at once.
    public var isTight: Bool { held > limit - limit / 16 }
    /// What each connection could hold if all connections with waiting bytes held the same, in bytes.
    public var share: Int { limit / max(holders, 1) }

    /// Records that the bytes held for a connection have changed.
    public func change(from old: Int, to new: Int) {
        guard old != new else { return }
        bytes.wrappingAdd(new &- old, ordering: .relaxed)
        if old == 0 {
            connections.wrappingAdd(1, ordering: .relaxed)
        } else if new == 0 {
            connections.wrappingSubtract(1, ordering: .relaxed)
        }
    }

    /// What a connection may hold that is about to get more, in bytes.
    ///
    /// - Parameters:
    ///   - most: The limit of one connection.
    ///   - byteCount: What it is about to get.
    public func allowance(upTo most: Int, adding byteCount: Int) -> Int {
        held > limit - byteCount ? min(most, share) : most
    }
}
