import NIOCore
import SidecarCore
import Synchronization

/// Where the sessions are that can be resumed, by the hashes of their tokens; for all event loops of this node.
final class ResumeDirectory: Sendable {
    /// Where a session lives.
    struct Place: Sendable {
        let id: String
        /// The sessions of its event loop.
        let registry: NIOLoopBound<SessionRegistry>
    }

    private final class Stripe: Sendable {
        let places = Mutex<[ResumeToken.Hash: Place]>([:])
    }

    private let stripes = (0..<16).map { _ in Stripe() }

    private func stripe(of hash: ResumeToken.Hash) -> Stripe {
        stripes[Int(UInt(bitPattern: hash.hashValue) % UInt(stripes.count))]
    }

    subscript(hash: ResumeToken.Hash) -> Place? {
        get { stripe(of: hash).places.withLock { $0[hash] } }
        set { stripe(of: hash).places.withLock { $0[hash] = newValue } }
    }
}
