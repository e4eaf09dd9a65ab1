internal import HTTPTypes
internal import NIOCore
internal import SidecarCore

/// The first answer to each key, for five minutes.
struct IdempotentAnswers: Sendable {
    /// What all of them may hold, in bytes: the answer to a list of a thousand messages has some hundred thousand.
    static let maxBytes = 64 << 20

    private let answers = IdempotentResults<ByteBuffer>(maxBytes: maxBytes) { $0.readableBytes }

    /// Answers with what the first one with this key gets; one that failed does not count.
    ///
    /// - Throws: 503 when too many keys, or too much for them, are remembered for another one.
    func answer(to key: String, _ make: @escaping @Sendable () async throws -> ByteBuffer) async throws -> ByteBuffer {
        do {
            return try await answers.result(for: key, at: .now(), make)
        } catch is IdempotencyKeysFull {
            throw APIFault(
                status: .serviceUnavailable,
                detail: "Too many idempotency keys were used within five minutes.",
                outcome: .refused,
                retryAfter: 1
            )
        }
    }
}
