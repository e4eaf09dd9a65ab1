import HTTP1
import NIOCore
import SidecarCore

/// A POST of the client protocol that has yet to be answered, for the event loop of its session.
final class PendingPost: Sendable {
    private let answer: @Sendable (PostAnswer) -> Void

    /// - Parameter answer: Called once, on any event loop.
    init(_ answer: @escaping @Sendable (PostAnswer) -> Void) {
        self.answer = answer
    }

    func reply(_ answer: PostAnswer) { self.answer(answer) }
}

/// What a POST gets.
enum PostAnswer: Sendable {
    /// Frames for the client, as the whole body; with the first ones, the app's acceptance, whose fields go along.
    case frames(ByteBuffer, HTTPReplyHead? = nil)
    /// Nothing: it only sent something, or a newer one waits in its place.
    case nothing
    /// The session has ended, is on another transport or has lost its client: the client has to resume it.
    case ended
    /// It begins a connection.
    case opens
    /// The app has not answered about its session yet.
    case notYet
    case refused(Refusal)

    /// A body with frames.
    static func frames(_ frames: [ByteBuffer], _ acceptance: HTTPReplyHead? = nil) -> PostAnswer {
        var body = ByteBufferAllocator().buffer(capacity: frames.reduce(16) { $0 + $1.readableBytes + 1 })
        body.writeStaticString("{\"frames\":[")
        for (index, frame) in frames.enumerated() {
            if index > 0 { body.writeStaticString(",") }
            body.writeImmutableBuffer(frame)
        }
        body.writeStaticString("]}")
        return .frames(body, acceptance)
    }

    /// The client resumes its session at once.
    static let resume = frames([ProtocolEncoding.json.write(.bye(.resumeTimeout, reconnectAfter: 0))])

    /// The node that has the session does not answer, and may have taken the POST: the client repeats it.
    static func silent() -> PostAnswer {
        .refused(
            Refusal(
                status: 503,
                sentence: "The node that has the session does not answer; repeat the POST.",
                reason: .connectionLimit,
                retryAfter: 1
            )
        )
    }

    static let outOfTurn = refused(
        Refusal(
            status: 409,
            sentence: "The POST is out of turn; n counts up by one, with two under way at most.",
            reason: .postOutOfTurn
        )
    )
}
