import HTTP1
import NIOCore
import SidecarCore

/// A passed-through request whose body is read whole before the app sees any of it, since it may hold an event.
final class BodyInspection {
    let head: HTTPRequestHead
    let target: String
    private(set) var body = ByteBuffer()
    private let budget: SharedBudget

    /// - Parameter budget: The bytes held over all connections.
    init(head: HTTPRequestHead, target: String, budget: SharedBudget) {
        self.head = head
        self.target = target
        self.budget = budget
    }

    deinit {
        budget.adjust(by: -body.readableBytes)
    }

    /// Keeps bytes of the body; returns a refusal when they are too many.
    func append(_ bytes: ByteBuffer) -> Refusal? {
        guard body.readableBytes + bytes.readableBytes <= StructuredEvents.maxBytes else { return .eventTooLarge }
        guard !budget.isSpent else {
            return Refusal(
                status: 503,
                sentence: "The server has no room for more bodies.",
                reason: .bodyBudget,
                retryAfter: ServerConfiguration.retryAfter()
            )
        }
        body.writeImmutableBuffer(bytes)
        budget.adjust(by: bytes.readableBytes)
        return nil
    }
}
