import HTTP1
import NIOCore
import SidecarCore

/// A request whose body is read whole before anything is done with it.
final class HeldBody {
    /// What it is read for.
    enum Purpose {
        /// The app gets it, unless it holds an event.
        case inspection(target: String)
        /// It is a POST of the client protocol.
        case protocolPost(ResolvedClient, asksForStream: Bool)
    }

    let head: HTTPRequestHead
    let purpose: Purpose
    private(set) var body = ByteBuffer()
    private let budget: SharedBudget
    private let limit: Int

    /// - Parameters:
    ///   - budget: The bytes held over all connections.
    ///   - maxPostBytes: The most that a POST of the client protocol may bring.
    init(head: HTTPRequestHead, for purpose: Purpose, budget: SharedBudget, maxPostBytes: Int) {
        self.head = head
        self.purpose = purpose
        self.budget = budget
        limit = if case .protocolPost = purpose { maxPostBytes } else { StructuredEvents.maxBytes }
    }

    deinit {
        budget.adjust(by: -body.readableBytes)
    }

    /// Keeps bytes of the body; returns a refusal when they are too many.
    func append(_ bytes: ByteBuffer) -> Refusal? {
        guard body.readableBytes + bytes.readableBytes <= limit else { return tooLarge }
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

    /// The refusal of a body that is announced as larger than it may be.
    var announcedRefusal: Refusal? {
        if case .length(let length) = head.framing, length > limit { tooLarge } else { nil }
    }

    private var tooLarge: Refusal {
        switch purpose {
        case .inspection: .eventTooLarge
        case .protocolPost:
            Refusal(
                status: 413,
                sentence: "The body has more than \(limit) bytes; send fewer frames at once.",
                reason: .postTooLarge
            )
        }
    }
}
