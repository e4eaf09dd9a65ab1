import DequeModule
import NIOCore
import Synchronization

/// Things that are found for a time only, and of which there are only so many; for all event loops of this node.
final class ShortMemory<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private struct Entries {
        var values: [Key: (value: Value, until: NIODeadline)] = [:]
        /// When each was remembered, the oldest first; also those that have been replaced since.
        var order: Deque<(key: Key, until: NIODeadline)> = []

        mutating func forgetOld(at now: NIODeadline, unless fits: Bool) {
            while let first = order.first, first.until <= now || !fits {
                order.removeFirst()
                guard let known = values[first.key], known.until == first.until else { continue }
                values[first.key] = nil
                if !fits { return }
            }
        }
    }

    private let capacity: Int
    private let span: TimeAmount
    private let entries = Mutex(Entries())

    /// - Parameters:
    ///   - capacity: When there are more, the oldest is forgotten.
    ///   - span: For how long each is remembered.
    init(capacity: Int, for span: TimeAmount) {
        self.capacity = capacity
        self.span = span
    }

    /// What is remembered under a key, now.
    subscript(key: Key) -> Value? {
        get { value(of: key, at: .now()) }
        set { if let newValue { remember(newValue, as: key, at: .now()) } }
    }

    func value(of key: Key, at now: NIODeadline) -> Value? {
        entries.withLock { entries in
            entries.forgetOld(at: now, unless: true)
            return entries.values[key]?.value
        }
    }

    func remember(_ value: Value, as key: Key, at now: NIODeadline) {
        entries.withLock { entries in
            entries.forgetOld(at: now, unless: true)
            if entries.order.count >= capacity { entries.forgetOld(at: now, unless: false) }
            entries.values[key] = (value, now + span)
            entries.order.append((key, now + span))
        }
    }

    /// How much is remembered.
    var count: Int { entries.withLock { $0.order.count } }
}
