/// What is counted for each user: connections, and the messages of all of them together.
///
/// It answers at once, from what this process knows. The bucket that it hands out counts the messages, without it.
public protocol RateStore: Sendable {
    /// Counts one more connection of a user.
    ///
    /// - Parameters:
    ///   - limit: Connections at most; with `Int.max` it counts and never refuses.
    ///   - now: The time in nanoseconds.
    /// - Returns: What all connections of the user share, to be given back to ``close(_:of:)``; nil when the user has
    ///   as many as allowed.
    func tryOpen(_ user: UserName, limit: Int, now: Int64) -> SharedBucket?
    /// Counts one connection less.
    func close(_ bucket: SharedBucket, of user: UserName)
}

/// The users of this process.
public struct LocalRateStore: RateStore {
    private let users: BucketTable<UserName>

    /// A store without connections.
    ///
    /// - Parameter messages: The rate of a user's messages; nil for none.
    public init(messages: Rate?) {
        users = BucketTable(messages.map { GCRA($0) })
    }

    /// Counts one more connection of a user; nil when that has as many as allowed.
    public func tryOpen(_ user: UserName, limit: Int, now: Int64) -> SharedBucket? {
        let bucket = users.bucket(for: user, now: now)
        return bucket.tryOpen(limit: limit) ? bucket : nil
    }

    /// Counts one connection less.
    public func close(_ bucket: SharedBucket, of user: UserName) { bucket.close() }
}
