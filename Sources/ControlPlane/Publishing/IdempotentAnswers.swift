internal import DequeModule
internal import HTTPTypes
internal import NIOCore
internal import SidecarCore

/// The first answer to each key, for five minutes.
actor IdempotentAnswers {
    private static let lifetime = TimeAmount.minutes(5)
    private static let capacity = 100_000
    /// What all of them may hold, in bytes: the answer to a list of a thousand messages has some hundred thousand.
    static let maxBytes = 64 << 20

    /// Keys are bytes: text that only looks alike is not the same key.
    private var answers: [[UInt8]: Task<ByteBuffer, any Error>] = [:]
    /// The keys of those that have succeeded; the others are in flight, at most one for each connection.
    private var order: Deque<(key: [UInt8], until: NIODeadline, byteCount: Int)> = []
    private var bytes = 0

    /// Answers with what the first one with this key gets; one that failed does not count.
    ///
    /// - Throws: 503 when too many keys, or too much for them, are remembered for another one.
    func answer(to key: String, _ make: @escaping @Sendable () async throws -> ByteBuffer) async throws -> ByteBuffer {
        let key = Array(key.utf8)
        removeOld()
        if let known = answers[key] { return try await known.value }
        guard answers.count < Self.capacity, bytes < Self.maxBytes else {
            throw APIFault(
                status: .serviceUnavailable,
                detail: "Too many idempotency keys were used within five minutes.",
                outcome: .refused,
                retryAfter: 1
            )
        }
        let task = Task { try await make() }
        answers[key] = task
        do {
            let answer = try await task.value
            let byteCount = key.count + answer.readableBytes
            order.append((key, .now() + Self.lifetime, byteCount))
            bytes += byteCount
            return answer
        } catch {
            answers[key] = nil
            throw error
        }
    }

    private func removeOld() {
        let now = NIODeadline.now()
        while let first = order.first, first.until <= now {
            answers[first.key] = nil
            bytes -= first.byteCount
            order.removeFirst()
        }
    }
}
