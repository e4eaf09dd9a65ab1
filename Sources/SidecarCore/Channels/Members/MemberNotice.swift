/// A user has come into a channel with its first connection, or the last one has gone.
public struct MemberEvent: Sendable, Equatable {
    /// The user.
    public let user: UserName
    /// False when the user has left.
    public let hasJoined: Bool

    /// An event.
    public init(_ user: UserName, hasJoined: Bool) {
        self.user = user
        self.hasJoined = hasJoined
    }
}

/// What a node tells the others of the users that are connected to it in a channel.
///
/// The users of a node in a channel have a version, which every change raises; it is 0 while there are none. A node that
/// gets a change of another version than the one that it knows has missed something, and asks for all of them.
public struct MemberNotice: Sendable, Equatable {
    /// Where the users are.
    public let channel: ChannelName
    /// The version that the change follows.
    public let before: UInt64
    /// The version after the change.
    public let version: UInt64
    /// The change, for this node's connections only; nil when the notice only tells the version.
    public let change: MemberEvent?

    /// A notice.
    public init(channel: ChannelName, before: UInt64, version: UInt64, change: MemberEvent?) {
        self.channel = channel
        self.before = before
        self.version = version
        self.change = change
    }
}

/// The users in a channel, as a client is told them.
public struct MemberSnapshot: Sendable, Equatable {
    /// The most users that are named.
    public static let limit = 100

    /// Their names, sorted; at most ``limit`` of them.
    public let users: [UserName]
    /// How many there are.
    public let count: Int

    /// A snapshot.
    public init(users: [UserName], count: Int) {
        self.users = users
        self.count = count
    }
}

/// A part of the users that a node has in a channel.
public struct MemberPage: Codable, Sendable, Equatable {
    /// The version that it is of, or a later one.
    public let version: UInt64
    /// The users, sorted.
    public let users: [UserName]
    /// Whether more follow.
    public let hasMore: Bool

    /// The first of these users.
    public init(_ users: [UserName], limit: Int, version: UInt64) {
        self.version = version
        self.users = Array(users.sorted().prefix(limit))
        hasMore = users.count > limit
    }
}
