internal import HTTPTypes
internal import NIOCore
internal import SidecarCore
internal import Synchronization

/// How fast may be published through the API (`PUBLISH_RATE`).
final class PublishRate: Sendable {
    private let limit: GCRA?
    private let tat = Mutex(GCRA.full)

    init(_ rate: Rate?) {
        limit = rate.map { GCRA($0) }
    }

    /// Counts a publication.
    ///
    /// - Throws: 429 when it comes too soon.
    func take() throws {
        guard let limit else { return }
        let now = Int64(clamping: NIODeadline.now().uptimeNanoseconds)
        guard case .limited(let wait) = tat.withLock({ limit.take(1, tat: &$0, now: now) }) else { return }
        throw APIFault(
            status: .tooManyRequests,
            detail: "Publications exceed PUBLISH_RATE.",
            outcome: .refused,
            retryAfter: Int(wait / 1_000_000_000) + 1
        )
    }
}
