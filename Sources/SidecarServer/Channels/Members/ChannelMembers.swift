import DequeModule
import NIOCore
import SidecarCore
import Synchronization

/// Who is in the channels with `presence=on`, as far as they have subscribers here.
final class ChannelMembers: Sendable {
    /// A channel and what is known of its users.
    private struct Entry: Sendable {
        var list: MemberList
        /// Who waits until the users of the other nodes are known; nil when they are.
        var waiting: [@Sendable () -> Void]?
    }

    private struct Table: Sendable {
        var entries: [ChannelName: Entry] = [:]
        /// When users may have left, in that order.
        var due: Deque<(channel: ChannelName, at: NIODeadline)> = []
    }

    private final class Stripe: Sendable {
        let table = Mutex(Table())
    }

    /// What the members need of their surroundings.
    struct Surroundings: Sendable {
        /// Tells the subscribers on this node, once ``wake`` is called; the number is that of all users.
        let tell: @Sendable (MemberEvent, ChannelName, Int) -> Void
        /// Wakes their event loops.
        let wake: @Sendable () -> Void
        /// Tells the other nodes.
        let announce: @Sendable (MemberNotice) -> Void
        /// Reads the users of the other nodes, where there may be some.
        weak let sync: MemberSync?
    }

    private let rules: ChannelRules
    private let surroundings = AtomicLazyReference<Reference<Surroundings>>()
    private let stripes = (0..<16).map { _ in Stripe() }
    private let lastVersion = Atomic<UInt64>(0)
    /// The other nodes that have told of their users.
    private let nodes = Mutex<Set<NodeID>>([])

    /// - Returns: Nil when no channel has `presence=on`.
    init?(_ rules: ChannelRules) {
        guard rules.showsMembers else { return nil }
        self.rules = rules
    }

    /// To be called before there are subscribers.
    func begin(in surroundings: Surroundings) { _ = self.surroundings.storeIfNil(Reference(surroundings)) }

    private var around: Surroundings? { surroundings.load()?.value }

    /// Whether clients are told of the users in a channel.
    func areShown(in channel: ChannelName) -> Bool { rules.policy(for: channel)?.showsMembers ?? false }

    // MARK: Connections here

    /// A connection has joined a channel.
    func joined(_ channel: ChannelName, _ user: UserName?) {
        guard areShown(in: channel) else { return }
        var isFirst = false
        change(channel) { table, _ in
            if table.entries[channel] == nil {
                isFirst = true
                table.entries[channel] = Entry(list: MemberList(of: channel), waiting: around?.sync.map { _ in [] })
            }
            return table.entries[channel]?.list.joined(user, version: nextVersion()) ?? .init()
        }
        if isFirst { around?.sync?.begin(channel) }
    }

    /// A connection has left a channel.
    func left(_ channel: ChannelName, _ user: UserName?) {
        guard areShown(in: channel) else { return }
        change(channel) { table, now in
            let effects = table.entries[channel]?.list.left(user, version: nextVersion(), at: now)
            if table.entries[channel]?.list.connections == 0 { table.entries[channel] = nil }
            return effects ?? .init()
        }
    }

    /// A connection in some channels has another user.
    func renamed(from old: UserName?, to new: UserName?, in channels: some Sequence<ChannelName>) {
        for channel in channels where areShown(in: channel) {
            change(channel) { table, _ in
                guard let new else { return .init() }
                return table.entries[channel]?.list.added(new, version: nextVersion()) ?? .init()
            }
            change(channel) { table, now in
                guard let old else { return .init() }
                return table.entries[channel]?.list.removed(old, version: nextVersion(), at: now) ?? .init()
            }
        }
    }

    private func nextVersion() -> UInt64 { lastVersion.wrappingAdd(1, ordering: .relaxed).newValue }

    // MARK: What is known

    /// The users in a channel; nil where clients are not told of them.
    func snapshot(of channel: ChannelName) -> MemberSnapshot? {
        stripe(of: channel).table.withLock { $0.entries[channel]?.list.snapshot }
    }

    /// Some of the users here.
    func page(of channel: ChannelName, after user: UserName?, limit: Int) -> MemberPage {
        let (users, version) = stripe(of: channel).table.withLock { table -> ([UserName], UInt64) in
            guard let list = table.entries[channel]?.list else { return ([], 0) }
            return (list.usersHere(after: user), list.version)
        }
        return MemberPage(users, limit: limit, version: version)
    }

    /// Calls when the users of the other nodes are known, or cannot be known for now; on any thread, or at once.
    func whenKnown(_ channel: ChannelName, _ body: @escaping @Sendable () -> Void) {
        let isKnown = stripe(of: channel).table.withLock { table in
            guard table.entries[channel]?.waiting != nil else { return true }
            table.entries[channel]?.waiting?.append(body)
            return false
        }
        if isKnown { body() }
    }

    // MARK: Time

    /// How often ``expire(at:)`` looks.
    private static let interval = TimeAmount.milliseconds(250)

    /// Begins to tell of users who have left, on one loop only.
    func start(on eventLoop: any EventLoop) {
        eventLoop.assumeIsolated().scheduleTask(in: Self.interval) { [self] in
            expire(at: .now())
            start(on: eventLoop)
        }
    }

    /// Tells of users whose last connection has been gone for long enough.
    func expire(at now: NIODeadline) {
        for stripe in stripes {
            stripe.table.withLock { table in
                while let first = table.due.first, first.at <= now {
                    table.due.removeFirst()
                    let events = table.entries[first.channel]?.list.expire(at: now) ?? []
                    tell(events, in: first.channel, table)
                }
            }
        }
        around?.wake()
    }

    // MARK: Other nodes

    /// Another node has told of its users.
    func received(_ notice: MemberNotice, from node: NodeID) {
        met(node)
        let needsReading = change(notice.channel) { table, now in
            table.entries[notice.channel]?.list.received(notice, from: node, at: now) ?? .init()
        }
        if needsReading { around?.sync?.read(node, in: notice.channel) }
    }

    /// Messages of a channel are received again: notices of other nodes may be missing, and theirs of ours.
    func resumed(_ channel: ChannelName) {
        guard areShown(in: channel) else { return }
        around?.sync?.survey(channel)
    }

    /// The channels that have subscribers here.
    var channels: [ChannelName] {
        stripes.flatMap { stripe in stripe.table.withLock { Array($0.entries.keys) } }
    }

    /// Tells the other nodes which version the users here have.
    func announceVersion(in channel: ChannelName) {
        stripe(of: channel).table.withLock { table in
            around?.announce((table.entries[channel]?.list ?? MemberList(of: channel)).summary)
        }
    }

    /// The users of a node are going to be read; false when nobody is in the channel any more.
    func beginReading(_ node: NodeID, in channel: ChannelName) -> Bool {
        met(node)
        return change(channel) { table, _ in table.entries[channel]?.list.beginReading(node) ?? .init() }
    }

    /// All users of a node have been read; true when that has to be repeated.
    func read(_ users: Set<UserName>, of node: NodeID, version: UInt64, in channel: ChannelName) -> Bool {
        change(channel) { table, now in
            table.entries[channel]?.list.read(users, of: node, version: version, at: now) ?? .init()
        }
    }

    /// The users of a node cannot be read for now.
    func notRead(_ node: NodeID, in channel: ChannelName) {
        stripe(of: channel).table.withLock { $0.entries[channel]?.list.notRead(node) }
    }

    /// The users of the other nodes have been read as far as possible.
    ///
    /// - Parameter nodes: All nodes with subscribers, as far as the engine knew them; nil when it is not known.
    func surveyed(_ channel: ChannelName, nodes: Set<NodeID>?) {
        if let nodes {
            // One that is not among them has left, or has come only just.
            let known = stripe(of: channel).table.withLock { $0.entries[channel]?.list.nodes ?? [] }
            for node in known where !nodes.contains(node) { around?.sync?.read(node, in: channel) }
        }
        let waiting = stripe(of: channel).table.withLock { table in
            defer { table.entries[channel]?.waiting = nil }
            return table.entries[channel]?.waiting ?? []
        }
        for body in waiting { body() }
    }

    /// Other nodes that are no longer there.
    func lost(_ lost: Set<NodeID>) {
        nodes.withLock { $0.subtract(lost) }
        for channel in channels {
            for node in lost {
                change(channel) { table, now in table.entries[channel]?.list.lost(node, at: now) ?? .init() }
            }
        }
    }

    /// The other nodes that have told of their users.
    var knownNodes: Set<NodeID> { nodes.withLock { $0 } }

    private func met(_ node: NodeID) { nodes.withLock { _ = $0.insert(node) } }

    // MARK: -

    private func stripe(of channel: ChannelName) -> Stripe {
        stripes[Int(UInt(bitPattern: channel.hashValue) % UInt(stripes.count))]
    }

    private func tell(_ events: [MemberEvent], in channel: ChannelName, _ table: Table) {
        guard !events.isEmpty, let list = table.entries[channel]?.list else { return }
        // All of them have happened already.
        var count = list.count - events.reduce(0) { $0 + ($1.hasJoined ? 1 : -1) }
        for event in events {
            count += event.hasJoined ? 1 : -1
            around?.tell(event, channel, count)
        }
    }

    /// Changes a channel, and tells of it under the lock, so that nobody is told in another order.
    ///
    /// - Returns: Whether the users of a node have to be read.
    @discardableResult
    private func change(
        _ channel: ChannelName,
        _ body: (inout Table, NIODeadline) -> MemberList.Effects
    ) -> Bool {
        let effects = stripe(of: channel).table.withLock { table in
            let effects = body(&table, .now())
            if let dueAt = effects.dueAt { table.due.append((channel, dueAt)) }
            tell(effects.events, in: channel, table)
            if let notice = effects.notice { around?.announce(notice) }
            return effects
        }
        if !effects.events.isEmpty { around?.wake() }
        return effects.needsReading
    }
}

/// Holds a value for an atomic reference.
final class Reference<Value: Sendable>: Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
