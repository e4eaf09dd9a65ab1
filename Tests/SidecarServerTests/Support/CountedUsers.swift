import SidecarCore
import Synchronization
import Testing

/// Counts the connections of users, and checks that none is given back twice.
final class CountedUsers: RateStore {
    private let store = LocalRateStore(messages: nil)
    private let counts = Mutex<[UserName: Int]>([:])

    func tryOpen(_ user: UserName, limit: Int, now: Int64) -> SharedBucket? {
        guard let bucket = store.tryOpen(user, limit: limit, now: now) else { return nil }
        counts.withLock { $0[user, default: 0] += 1 }
        return bucket
    }

    func close(_ bucket: SharedBucket, of user: UserName) {
        let left = counts.withLock { counts in
            let left = counts[user, default: 0] - 1
            counts[user] = left == 0 ? nil : left
            return left
        }
        if left < 0 { Issue.record("\(user) gave back a connection that was not counted") }
        store.close(bucket, of: user)
    }

    func share(_ user: UserName, among nodes: Int, now: Int64) { store.share(user, among: nodes, now: now) }

    /// The users with a connection, and how many each has.
    var all: [UserName: Int] { counts.withLock { $0 } }
}
