/// Counts connections for each user, and holds the bucket that limits the messages of all of them together.
///
/// It returns at once, from what this process knows. Messages are counted on the bucket, without the store.
public protocol RateStore: Sendable {
    /// Counts one more connection of a user.
    ///
    /// - Parameters:
    ///   - limit: The most connections; with `Int.max` it counts and never refuses.
    ///   - now: The time in nanoseconds.
    /// - Returns: The bucket that all connections of the user share, to be given back with ``close(_:of:)``; nil when
    ///   the user has reached the limit.
    func tryOpen(_ user: UserName, limit: Int, now: Int64) -> SharedBucket?
    /// Counts one connection less.
    func close(_ bucket: SharedBucket, of user: UserName)
    /// A user's rate is shared by so many nodes.
    func share(_ user: UserName, among nodes: Int, now: Int64)
}

/// The users of this process only.
public struct LocalRateStore: RateStore {
    private let users: BucketTable<UserName>

    /// A store without connections.
    ///
    /// - Parameter messages: The rate of a user's messages; nil for none.
    public init(messages: Rate?) {
        users = BucketTable(messages.map { GCRA($0) })
    }

    /// Counts one more connection of a user; nil when the user has reached the limit.
    public func tryOpen(_ user: UserName, limit: Int, now: Int64) -> SharedBucket? {
        let bucket = users.bucket(for: user, now: now)
        return bucket.tryOpen(limit: limit) ? bucket : nil
    }

    /// Counts one connection less.
    public func close(_ bucket: SharedBucket, of user: UserName) { bucket.close() }

    /// A user's rate is shared with other nodes.
    public func share(_ user: UserName, among nodes: Int, now: Int64) {
        users.bucket(for: user, now: now).share(among: nodes)
    }
}
