import Crypto
import HTTP1
import NIOCore
import SidecarCore
import Synchronization

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

/// Things that are found for a time only, and of which there are only so many; for all event loops of this node.
final class ShortMemory<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private let capacity: Int
    private let span: TimeAmount
    private let entries = Mutex<[Key: (value: Value, until: NIODeadline)]>([:])

    /// - Parameters:
    ///   - capacity: When there are so many, new ones are not remembered.
    ///   - span: For how long each is.
    init(capacity: Int, for span: TimeAmount) {
        self.capacity = capacity
        self.span = span
    }

    subscript(key: Key) -> Value? {
        get {
            let now = NIODeadline.now()
            return entries.withLock { entries in
                guard let entry = entries[key] else { return nil }
                if entry.until > now { return entry.value }
                entries[key] = nil
                return nil
            }
        }
        set {
            let now = NIODeadline.now()
            entries.withLock { entries in
                guard let newValue else { return entries[key] = nil }
                if entries.count >= capacity { entries = entries.filter { $0.value.until > now } }
                if entries.count < capacity || entries[key] != nil { entries[key] = (newValue, now + span) }
            }
        }
    }
}
