import DequeModule
public import NIOCore

/// Which users are in a channel, over all nodes (`presence=on`).
///
/// Each node counts the connections of its own users and tells the others of a user's first and last one; so each has the
/// whole list, and none has to be asked for it. A user whose last connection has gone stays for ``grace``, so that a page
/// that is loaded again, or a client that comes back on another node, is no news.
public struct MemberList: Sendable {
    /// How long a user without a connection is still a member.
    public static let grace = TimeAmount.seconds(5)
    /// How many notices of a node wait while its users are read; with more they are read again.
    static let mostWaiting = 1_000

    private struct Member {
        /// Connections to this node.
        var connections = 0
        /// The other nodes where the user is.
        var nodes: Set<NodeID> = []
        /// When the user leaves; nil while there is a connection.
        var leavesAt: NIODeadline?

        var isConnected: Bool { connections > 0 || !nodes.isEmpty }
    }

    /// The users of another node.
    private struct Remote {
        /// What is known of them.
        var version: UInt64 = 0
        var count = 0
        /// The notices since they are being read; nil while they are not.
        var waiting: [MemberNotice]?
        /// Whether they have to be read once more.
        var isStale = false
    }

    /// What follows from a change.
    public struct Effects: Sendable, Equatable {
        /// For the clients here.
        public var events: [MemberEvent] = []
        /// For the other nodes.
        public var notice: MemberNotice?
        /// When ``expire(at:)`` has to be called.
        public var dueAt: NIODeadline?
        /// Whether the users of the node have to be read.
        public var needsReading = false

        /// Nothing.
        public init() {}
    }

    private let channel: ChannelName
    private var members: [UserName: Member] = [:]
    private var remotes: [NodeID: Remote] = [:]
    /// In the order of their deadlines, which may no longer hold.
    private var leaving: Deque<(user: UserName, at: NIODeadline)> = []
    private var countHere = 0
    /// The version of the users here.
    public private(set) var version: UInt64 = 0
    /// Connections here, with and without a user.
    public private(set) var connections = 0

    /// A list without users.
    public init(of channel: ChannelName) {
        self.channel = channel
    }

    /// The number of users.
    public var count: Int { members.count }
    /// The other nodes with users in the channel.
    public var nodes: [NodeID] { Array(remotes.keys) }

    /// The users, as a client is told them.
    public var snapshot: MemberSnapshot {
        MemberSnapshot(users: members.keys.prefix(MemberSnapshot.limit).sorted(), count: members.count)
    }

    /// The users here that sort after another one, in no order.
    public func usersHere(after user: UserName?) -> [UserName] {
        members.lazy.filter { $0.value.connections > 0 }.map(\.key).filter { name in user.map { $0 < name } ?? true }
    }

    // MARK: Connections to this node

    /// A connection has come into the channel.
    ///
    /// - Parameter next: The version after the change.
    public mutating func joined(_ user: UserName?, version next: UInt64) -> Effects {
        connections += 1
        return user.map { added($0, version: next) } ?? Effects()
    }

    /// A connection has left the channel.
    public mutating func left(_ user: UserName?, version next: UInt64, at now: NIODeadline) -> Effects {
        connections -= 1
        return user.map { removed($0, version: next, at: now) } ?? Effects()
    }

    /// One more connection has this user.
    public mutating func added(_ user: UserName, version next: UInt64) -> Effects {
        var effects = Effects()
        let isNew = members[user] == nil
        members[user, default: Member()].connections += 1
        members[user]?.leavesAt = nil
        if isNew { effects.events.append(MemberEvent(user, hasJoined: true)) }
        if members[user]?.connections == 1 {
            countHere += 1
            effects.notice = note(MemberEvent(user, hasJoined: true), next)
        }
        return effects
    }

    /// One connection less has this user.
    public mutating func removed(_ user: UserName, version next: UInt64, at now: NIODeadline) -> Effects {
        var effects = Effects()
        guard let member = members[user], member.connections > 0 else { return effects }
        members[user]?.connections -= 1
        if member.connections == 1 {
            countHere -= 1
            effects.notice = note(MemberEvent(user, hasJoined: false), next)
            effects.dueAt = leaveIfGone(user, at: now)
        }
        return effects
    }

    private mutating func note(_ change: MemberEvent, _ next: UInt64) -> MemberNotice {
        defer { version = countHere == 0 ? 0 : next }
        return MemberNotice(channel: channel, before: version, version: next, change: change)
    }

    /// Tells the other nodes which version the users here have.
    public var summary: MemberNotice {
        MemberNotice(channel: channel, before: version, version: version, change: nil)
    }

    // MARK: Leaving

    private mutating func leaveIfGone(_ user: UserName, at now: NIODeadline) -> NIODeadline? {
        guard let member = members[user], !member.isConnected, member.leavesAt == nil else { return nil }
        let deadline = now + Self.grace
        members[user]?.leavesAt = deadline
        leaving.append((user, deadline))
        return deadline
    }

    /// The users whose time is over have left.
    public mutating func expire(at now: NIODeadline) -> [MemberEvent] {
        let due = Array(leaving.prefix { $0.at <= now })
        leaving.removeFirst(due.count)
        return due.compactMap { user, deadline in
            guard members[user]?.leavesAt == deadline else { return nil }
            members[user] = nil
            return MemberEvent(user, hasJoined: false)
        }
    }

    // MARK: Other nodes

    /// Another node has told of its users.
    public mutating func received(_ notice: MemberNotice, from node: NodeID, at now: NIODeadline) -> Effects {
        var remote = remotes[node] ?? Remote()
        if let waiting = remote.waiting {
            if waiting.count < Self.mostWaiting {
                remotes[node]?.waiting?.append(notice)
            } else {
                remotes[node]?.isStale = true
            }
            return Effects()
        }
        guard let change = notice.change else {
            return notice.version == remote.version ? Effects() : beginReading(node)
        }
        // It has been read with the others.
        if notice.version <= remote.version { return Effects() }
        guard notice.before == remote.version else { return beginReading(node) }
        remote.version = notice.version
        remotes[node] = remote
        return apply(change, of: node, at: now)
    }

    private mutating func apply(_ change: MemberEvent, of node: NodeID, at now: NIODeadline) -> Effects {
        var effects = Effects()
        let user = change.user
        if change.hasJoined {
            let isNew = members[user] == nil
            if members[user, default: Member()].nodes.insert(node).inserted { remotes[node]?.count += 1 }
            members[user]?.leavesAt = nil
            if isNew { effects.events.append(change) }
        } else if members[user]?.nodes.remove(node) != nil {
            remotes[node]?.count -= 1
            effects.dueAt = leaveIfGone(user, at: now)
        }
        if let remote = remotes[node], remote.count == 0, remote.waiting == nil { remotes[node] = nil }
        return effects
    }

    /// The users of a node are going to be read; ``read(_:of:version:at:)`` or ``notRead(_:)`` has to follow.
    public mutating func beginReading(_ node: NodeID) -> Effects {
        if remotes[node]?.waiting == nil { remotes[node, default: Remote()].waiting = [] }
        remotes[node]?.isStale = false
        var effects = Effects()
        effects.needsReading = true
        return effects
    }

    /// All users of a node have been read.
    ///
    /// - Parameter version: That of the first page.
    public mutating func read(
        _ users: Set<UserName>,
        of node: NodeID,
        version: UInt64,
        at now: NIODeadline
    ) -> Effects {
        let remote = remotes[node] ?? Remote()
        // What it has told since is known already.
        guard remote.waiting != nil || version > remote.version else { return Effects() }
        let waiting = remote.waiting ?? []
        remotes[node] = Remote(version: version, count: remote.count, waiting: [])
        var effects = Effects()
        func add(_ more: Effects) {
            effects.events += more.events
            effects.dueAt = more.dueAt ?? effects.dueAt
        }
        for user in users { add(apply(MemberEvent(user, hasJoined: true), of: node, at: now)) }
        for user in members.filter({ $0.value.nodes.contains(node) && !users.contains($0.key) }).keys {
            add(apply(MemberEvent(user, hasJoined: false), of: node, at: now))
        }
        var isContinued = !remote.isStale
        var known = version
        for notice in waiting where notice.version > version {
            guard let change = notice.change else {
                isContinued = isContinued && notice.version <= known
                continue
            }
            isContinued = isContinued && notice.before == known
            known = notice.version
            add(apply(change, of: node, at: now))
        }
        remotes[node]?.version = known
        remotes[node]?.waiting = nil
        if !isContinued {
            effects.needsReading = beginReading(node).needsReading
        } else if remotes[node]?.count == 0 {
            remotes[node] = nil
        }
        return effects
    }

    /// The users of a node could not be read; they are known as they were.
    public mutating func notRead(_ node: NodeID) {
        remotes[node]?.waiting = nil
        if remotes[node]?.count == 0 { remotes[node] = nil }
    }

    /// A node is no longer there.
    public mutating func lost(_ node: NodeID, at now: NIODeadline) -> Effects {
        guard remotes.removeValue(forKey: node) != nil else { return Effects() }
        var effects = Effects()
        for user in members.filter({ $0.value.nodes.contains(node) }).keys {
            members[user]?.nodes.remove(node)
            effects.dueAt = leaveIfGone(user, at: now) ?? effects.dueAt
        }
        return effects
    }
}
