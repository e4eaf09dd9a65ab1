import NIOCore
import SidecarCore

/// Passes POSTs of the client protocol on to the node that has their session, so that a client's requests may come to any
/// node.
final class PostRelays: Sendable {
    private let engine: any ClusterEngine
    private let resumes: ResumeDirectory
    private let farewells: ShortMemory<ResumeToken.Hash, PostAnswer>

    init(
        _ engine: any ClusterEngine,
        _ resumes: ResumeDirectory,
        _ farewells: ShortMemory<ResumeToken.Hash, PostAnswer>
    ) {
        self.engine = engine
        self.resumes = resumes
        self.farewells = farewells
    }

    /// Passes a POST on.
    ///
    /// - Parameters:
    ///   - node: The node that has made its token.
    ///   - time: How long it may wait for something to answer.
    func pass(_ body: ByteBuffer, _ terms: ResumeTerms, to node: NodeID, for time: TimeAmount, _ pending: PendingPost) {
        let request = NodeRequest.post(
            body: WireBytes(Array(body.readableBytesView)),
            terms: WireBytes(terms.record),
            wait: time.nanoseconds / 1_000_000
        )
        Task {
            switch await engine.ask([node], request)[node] {
            case .posted(let frames)?:
                pending.reply(frames.map { .frames(ByteBuffer(bytes: $0.bytes)) } ?? .nothing)
            case .postRefused(let status, let sentence, let retryAfter)?:
                let reason: RefusalReason = status == 409 ? .postOutOfTurn : .connectionLimit
                pending.reply(
                    .refused(Refusal(status: status, sentence: sentence, reason: reason, retryAfter: retryAfter))
                )
            case .failed(.noConnection)?: pending.reply(.ended)
            default: pending.reply(await isThere(node) ? .silent() : .ended)
            }
        }
    }

    /// Whether a node is alive, as far as that can be known.
    private func isThere(_ node: NodeID) async -> Bool {
        let (others, areCurrent) = await engine.others()
        return !areCurrent || others.contains { $0.id == node }
    }

    /// Answers a POST that another node has passed on.
    func answer(body: [UInt8], terms: [UInt8]) async -> NodeAnswer {
        guard let post = try? ProtocolPost(body: ByteBuffer(bytes: body)), post.number > 1,
            let terms = try? ResumeTerms(record: terms), case .session(let token) = post.sender
        else { return .failed(.noConnection) }
        let answer: PostAnswer
        if let place = resumes[token.hash] {
            answer = await withCheckedContinuation { continuation in
                let pending = PendingPost { continuation.resume(returning: $0) }
                place.registry.eventLoop.execute {
                    guard let session = place.registry.value[place.id] else { return pending.reply(.ended) }
                    session.post(post, nil, terms, pending)
                }
            }
        } else {
            answer = farewells[token.hash] ?? .ended
        }
        switch answer {
        case .frames(let body, _): return .posted(frames: WireBytes(Array(body.readableBytesView)))
        case .nothing: return .posted(frames: nil)
        case .refused(let refusal):
            return .postRefused(
                status: refusal.status,
                sentence: refusal.sentence,
                retryAfter: refusal.retryAfter
            )
        case .ended, .opens, .notYet: return .failed(.noConnection)
        }
    }
}
