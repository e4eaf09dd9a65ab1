import Crypto
import HTTP1
import SidecarCore

/// What identifies the first POST of a client: its `key`, together with what a stranger who guesses that does not have.
struct OpeningKey: Sendable, Hashable {
    /// A shorter key can be guessed, and counts only for the same address.
    private static let guessable = 16

    private let digest: [UInt8]

    init?(_ post: ProtocolPost, _ head: HTTPRequestHead, address: String) {
        guard let key = post.key else { return nil }
        var hash = SHA256()
        let fields = ["origin", "cookie", "authorization"].flatMap { head.headers.values(of: $0) + [""] }
        let bound = key.utf8.count < Self.guessable ? address : ""
        for part in [key, String(head.target.prefix { $0 != "?" }), bound] + fields {
            hash.update(data: Array("\(part.utf8.count) \(part)".utf8))
        }
        digest = Array(hash.finalize().prefix(16))
    }
}
