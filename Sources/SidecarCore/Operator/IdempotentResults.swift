import DequeModule
public import NIOCore

/// The first result for each idempotency key, for five minutes.
public actor IdempotentResults<Value: Sendable> {
    private let lifetime: TimeAmount
    private let capacity: Int
    private let maxBytes: Int
    private let size: @Sendable (Value) -> Int

    /// Keys are bytes: text that only looks alike is not the same key.
    private var results: [[UInt8]: Task<Value, any Error>] = [:]
    /// The keys of those that have succeeded; the others are in flight, at most one for each call.
    private var order: Deque<(key: [UInt8], until: NIODeadline, byteCount: Int)> = []
    private var bytes = 0

    /// Makes an empty memory.
    ///
    /// - Parameters:
    ///   - capacity: The most keys.
    ///   - maxBytes: What keys and results may take together.
    ///   - size: What a result takes, in bytes.
    public init(
        lifetime: TimeAmount = .minutes(5),
        capacity: Int = 100_000,
        maxBytes: Int = 64 << 20,
        size: @escaping @Sendable (Value) -> Int
    ) {
        self.lifetime = lifetime
        self.capacity = capacity
        self.maxBytes = maxBytes
        self.size = size
    }

    /// Returns what the first call with this key made; one that failed does not count.
    ///
    /// - Throws: ``IdempotencyKeysFull`` when too many keys, or too much for them, are remembered for another one.
    public func result(
        for key: String,
        at now: NIODeadline,
        _ make: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let key = Array(key.utf8)
        removeOld(now)
        if let known = results[key] { return try await known.value }
        guard results.count < capacity, bytes < maxBytes else { throw IdempotencyKeysFull() }
        let task = Task { try await make() }
        results[key] = task
        do {
            let value = try await task.value
            let byteCount = key.count + size(value)
            order.append((key, now + lifetime, byteCount))
            bytes += byteCount
            return value
        } catch {
            results[key] = nil
            throw error
        }
    }

    private func removeOld(_ now: NIODeadline) {
        while let first = order.first, first.until <= now {
            results[first.key] = nil
            bytes -= first.byteCount
            order.removeFirst()
        }
    }
}

/// Too many idempotency keys were used within five minutes.
public struct IdempotencyKeysFull: Error {}
