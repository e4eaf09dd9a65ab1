import DequeModule
import NIOCore
import SidecarCore
import Synchronization

/// Reads the users that other nodes have in channels with `presence=on`: when this node comes to a channel, and whenever
/// it may have missed what they have told.
final class MemberSync: Sendable {
    private enum Job: Hashable {
        /// Finds out which nodes are in a channel, and reads their users.
        case survey(ChannelName)
        /// Reads the users of one node.
        case read(NodeID, ChannelName)
        /// Tells the others which version our users have.
        case announce(ChannelName)
    }

    private struct State {
        var queue: Deque<Job> = []
        /// What is in the queue.
        var queued: Set<Job> = []
        var running = 0
        /// What could not be done, and is tried again.
        var failed: Set<Job> = []
        /// Nodes that were not in the list at the last look, although they have told of their users.
        var missing: Set<NodeID> = []
        var alive: Set<NodeID> = []
    }

    /// The most jobs at a time.
    private static let mostJobs = 16
    /// The most that waits for another attempt. Others take a node for lost that cannot reach them for long.
    private static let mostFailed = 100_000
    private static let pageSize = 1_000
    private static let retryPause = Duration.seconds(1)

    private let engine: any ClusterEngine
    private let broker: any ChannelBroker
    private let members: ChannelMembers
    private let state = Mutex(State())

    init(_ members: ChannelMembers, engine: any ClusterEngine, broker: any ChannelBroker) {
        self.members = members
        self.engine = engine
        self.broker = broker
    }

    /// A channel has its first subscriber here: once notices are received, the users that are there already are read.
    func begin(_ channel: ChannelName) {
        broker.subscribe(channel, after: nil, reader: 0) { [self] result in
            switch result {
            case .success: survey(channel)
            // It is surveyed when the engine is back.
            case .failure: members.surveyed(channel, nodes: nil)
            }
        }
    }

    /// Reads the users of all other nodes in a channel, and tells them which version ours have.
    func survey(_ channel: ChannelName) { add(.survey(channel)) }

    /// Reads the users of one other node in a channel.
    func read(_ node: NodeID, in channel: ChannelName) { add(.read(node, channel)) }

    /// The others may have missed what we have told of a channel.
    func mayHaveFailed(_ channel: ChannelName) { later(.announce(channel)) }

    /// This node has a new identity, under which nobody knows its users yet.
    func begins() { for channel in members.channels { survey(channel) } }

    /// The list of nodes was read. One that is not in it is lost; one that has only just told of its users may be too new
    /// for it.
    func nodesAre(_ alive: Set<NodeID>) {
        let known = members.knownNodes
        let lost = state.withLock { state in
            let missing = known.subtracting(alive)
            defer { (state.missing, state.alive) = (missing, alive) }
            return missing.intersection(state.missing.union(state.alive))
        }
        if !lost.isEmpty { members.lost(lost) }
    }

    // MARK: Jobs

    private func add(_ job: Job) {
        let starts = state.withLock { state in
            if state.queued.insert(job).inserted { state.queue.append(job) }
            guard state.running < Self.mostJobs else { return false }
            state.running += 1
            return true
        }
        if starts { Task { await work() } }
    }

    private func work() async {
        while let job = next() {
            switch job {
            case .survey(let channel): await survey(channel, job)
            case .read(let node, let channel): if await !read(node, channel) { later(job) }
            case .announce(let channel): members.announceVersion(in: channel)
            }
        }
    }

    private func next() -> Job? {
        state.withLock { state in
            guard let job = state.queue.popFirst() else {
                state.running -= 1
                return nil
            }
            state.queued.remove(job)
            return job
        }
    }

    private func later(_ job: Job) {
        let isFirst = state.withLock { state in
            guard state.failed.count < Self.mostFailed, state.failed.insert(job).inserted else { return false }
            return state.failed.count == 1
        }
        guard isFirst else { return }
        Task {
            try? await Task.sleep(for: Self.retryPause)
            let failed = state.withLock { state in
                defer { state.failed = [] }
                return state.failed
            }
            for job in failed { add(job) }
        }
    }

    private func survey(_ channel: ChannelName, _ job: Job) async {
        guard members.snapshot(of: channel) != nil else { return }
        members.announceVersion(in: channel)
        do throws(ChannelFailure) {
            let nodes = try await engine.subscribers(of: channel).map(\.id)
            for node in nodes where await !read(node, channel) { later(.read(node, channel)) }
            members.surveyed(channel, nodes: Set(nodes))
        } catch {
            members.surveyed(channel, nodes: nil)
            later(job)
        }
    }

    /// - Returns: False when it has to be tried again.
    private func read(_ node: NodeID, _ channel: ChannelName) async -> Bool {
        guard members.beginReading(node, in: channel) else { return true }
        var users: Set<UserName> = []
        var version: UInt64?
        var last: UserName?
        while true {
            let request = NodeRequest.memberPage(channel: channel, after: last, limit: Self.pageSize)
            switch await engine.ask([node], request)[node] {
            case .memberPage(let page)?:
                users.formUnion(page.users)
                version = version ?? page.version
                guard page.hasMore, let end = page.users.last, last.map({ $0 < end }) ?? true else {
                    return !members.read(users, of: node, version: version ?? 0, in: channel)
                }
                last = end
            // An older version, which tells nothing of its users either.
            case .failed(.unknownRequest)?: return !members.read([], of: node, version: 0, in: channel)
            default:
                members.notRead(node, in: channel)
                // A node that is gone is taken out with the next look at the list.
                return state.withLock { !$0.alive.isEmpty && !$0.alive.contains(node) }
            }
        }
    }
}
