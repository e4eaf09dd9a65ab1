import DequeModule
import Logging
import NIOCore
import RedisClient
import SidecarCore

/// Counts the connections of users over all nodes, in the engine while it answers, otherwise by this node's share.
///
/// Lives on the event loop of its context.
final class UserCounts {
    /// The most commands under way; for those who wait there may be as many again.
    private static let mostCommands = 500
    /// How many users without connections wait for an engine that is away. Beyond them, what the engine has is compared
    /// with what is here (``UserSweep``).
    private static let mostDeparted = 10_000
    /// The pause after a command that has failed.
    private static let retryPause = TimeAmount.milliseconds(200)

    /// What has to be subscribed.
    let topics: [String]
    private let context: NodeContext
    private let commands: UserCommands
    private let numberOfNodes: () -> Int
    private let onShare: (UserName, Int) -> Void

    /// The users that are connected here, and those of whom the engine still has to be told something.
    private var users: [UserName: UserCount] = [:]
    /// How many of them are connected here.
    private var connected = 0
    /// Users of whom the engine has to be told something; without those with a command under way.
    private var queue: Deque<UserName> = []
    private var underWay = 0
    /// Whether the engine has not answered the last command in time: until it answers again nobody waits for it.
    private var isSilent = false
    private var isPausing = false
    private var isStopped = false
    /// Whether the shares that were told are those of an engine that is away.
    private var toldAway = false
    /// Grows whenever it is not known what has become of a command (``UserScripts``).
    private var era: Int64 = 1
    private var sweep = UserSweep()

    /// - Parameters:
    ///   - sharesRates: Whether rates per user depend on the number of nodes that the user is connected to.
    ///   - numberOfNodes: How many nodes are alive.
    ///   - onShare: Told the number of nodes of a user that is connected here, at first and whenever it changes; of all
    ///     nodes while the engine is away.
    init(
        _ context: NodeContext,
        sharesRates: Bool,
        numberOfNodes: @escaping () -> Int,
        onShare: @escaping (UserName, Int) -> Void
    ) {
        self.context = context
        topics = sharesRates ? (0..<ClusterKeys.tags).map(context.keys.userTopic) : []
        commands = UserCommands(context: context, sharesRates: sharesRates)
        self.numberOfNodes = numberOfNodes
        self.onShare = onShare
    }

    private var sharesRates: Bool { commands.sharesRates }
    private var isAway: Bool { isSilent || !context.client.isUp || !context.isListed }

    // MARK: Connections

    /// Counts one more connection of a user, unless there are `limit` on all nodes together.
    func open(_ user: UserName, limit: Int, _ completion: @escaping @Sendable (Bool) -> Void) {
        tellIfAwayChanged()
        if limit == .max {
            change(user) { $0.add() }
            completion(true)
        } else {
            change(user) { $0.wait(UserCount.Waiter(limit: limit, completion: completion)) }
            if isAway || isStopped { decide(user) }
        }
        tell(user)
        announce(user)
    }

    /// Counts one connection less.
    func close(_ user: UserName) {
        guard users[user] != nil else { return }
        change(user) { $0.close() }
        announce(user)
    }

    /// The number of connections that count here.
    func count(of user: UserName) -> Int { users[user]?.count ?? 0 }

    /// How many users something is kept of, how long the queue is, and how many commands are under way; for tests.
    var sizes: [Int] { [users.count, queue.count, underWay] }

    // MARK: The engine

    /// The engine is there: it is told what it does not know.
    func engineIsUp() {
        isSilent = false
        tellIfAwayChanged()
        send()
    }

    /// The engine is away: the shares hold.
    func engineIsAway() {
        for user in queue { decide(user) }
        tellIfAwayChanged()
    }

    /// The engine may have lost what it was told, or this node has another incarnation: it is told everything again.
    func announceAll() {
        for user in users.keys { forget(user) }
        sweep.addAll()
        send()
    }

    /// A topic is subscribed, at first or again: changes may have been missed.
    func subscribed(_ topic: String) {
        guard let tag = topics.firstIndex(of: topic) else { return }
        for user in users.keys where ClusterKeys.tag(of: user) == tag { forget(user) }
        send()
    }

    /// A user has come to another number of nodes.
    func received(_ topic: String, _ payload: ByteBuffer) {
        guard topics.contains(topic) else { return }
        guard let message = UserAnswer.message(payload) else {
            return context.warn("a message about a user's nodes cannot be read", [:])
        }
        learn(message.user, nodes: message.nodes, changes: message.changes)
    }

    /// Sends nothing any more; who asks is answered by this node's share.
    func stop() {
        isStopped = true
        for user in Array(users.keys) { decide(user) }
    }

    /// Removes a lost node, tag by tag.
    ///
    /// - Parameter completion: Whether all of it was done.
    func clear(_ incarnation: String, _ completion: @escaping (Bool) -> Void) {
        commands.clear(incarnation, completion)
    }

    // MARK: Commands

    /// Changes what is known of a user, and forgets users of whom nothing is left to be known.
    private func change<Result>(_ user: UserName, _ body: (inout UserCount) -> Result) -> Result {
        let before = users[user]?.count ?? 0
        let result = body(&users[user, default: UserCount()])
        guard let entry = users[user] else { return result }
        connected += (entry.count > 0 ? 1 : 0) - (before > 0 ? 1 : 0)
        guard entry.count == 0 else { return result }
        users[user]?.told = nil
        if entry.isGone {
            users[user] = nil
        } else if entry.isDeparted, users.count - connected > Self.mostDeparted {
            users[user] = nil
            sweep.add(ClusterKeys.tag(of: user))
        }
        return result
    }

    private func forget(_ user: UserName) {
        change(user) { $0.forget() }
        enqueue(user)
    }

    private func announce(_ user: UserName) {
        // Who waits does not wait for what is only announced.
        if users[user]?.isAwaited == true, !isAway, !isStopped, underWay < 2 * Self.mostCommands,
            let request = change(user, { $0.next() })
        {
            return send(user, request)
        }
        enqueue(user)
        send()
    }

    private func enqueue(_ user: UserName) {
        guard let entry = users[user], entry.isDue, !entry.isQueued else { return }
        users[user]?.isQueued = true
        queue.append(user)
        // Users that were forgotten stay in the queue until their turn.
        guard queue.count > 2 * users.count + 1_000 else { return }
        var seen: Set<UserName> = []
        queue = queue.filter { users[$0]?.isQueued == true && seen.insert($0).inserted }
    }

    private func send() {
        guard !isPausing, !isStopped, context.client.isUp, context.isListed else { return }
        // One is enough to find out whether a silent engine answers again.
        while underWay < (isSilent ? 1 : Self.mostCommands), let user = queue.popFirst() {
            // It may have been forgotten and counted again since.
            guard users[user]?.isQueued == true else { continue }
            users[user]?.isQueued = false
            if let request = change(user, { $0.next() }) { send(user, request) }
        }
        if queue.isEmpty, !isSilent { sweepOn() }
    }

    private func send(_ user: UserName, _ request: UserCount.Request) {
        underWay += 1
        let (incarnation, era) = (context.incarnation, era)
        context.client.send(commands.count(user, request, era: era)) { [weak self] result in
            guard let self else { return }
            underWay -= 1
            switch result {
            case .success(let value):
                answered(user, request, value, isOld: era < self.era || incarnation != context.incarnation)
            case .failure(let failure): failed(user, failure)
            }
            send()
        }
    }

    /// - Parameter isOld: Whether another era or incarnation has begun since.
    private func answered(_ user: UserName, _ request: UserCount.Request, _ value: RESPValue, isOld: Bool) {
        isSilent = false
        tellIfAwayChanged()
        guard let answer = UserAnswer(value, to: request) else {
            context.warn("a count of a user cannot be read", [:])
            return retry(user)
        }
        guard let number = answer.number else {
            guard isOld else { return retry(user) }  // the others have taken this node for lost
            change(user) { $0.failed() }
            return announce(user)
        }
        let outcomes = change(user) { $0.answered(request, number) }
        if sharesRates { learn(user, nodes: answer.nodes, changes: answer.changes) }
        for outcome in outcomes { outcome.waiter.completion(outcome.isGranted) }
        announce(user)
    }

    private func failed(_ user: UserName, _ failure: RedisFailure) {
        if case .unknown = failure { era += 1 }
        if case .refused = failure {
            context.warn(
                "a user cannot be counted",
                ["why": "\(failure.sentence)"],
                perMinute: NodeContext.fewLines
            )
        } else if !isSilent {
            isSilent = true
            tellIfAwayChanged()
            for user in queue { decide(user) }
        }
        retry(user)
    }

    /// Answers those who wait, and tries again after a pause.
    private func retry(_ user: UserName) {
        change(user) { $0.failed() }
        decide(user)
        enqueue(user)
        guard !isPausing else { return }
        isPausing = true
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.retryPause) { [weak self] in
            self?.isPausing = false
            self?.send()
        }
    }

    // MARK: Shares

    private func decide(_ user: UserName) {
        guard users[user] != nil else { return }
        let nodes = max(1, numberOfNodes())
        let outcomes = change(user) { $0.decide { min($0, max(1, $0 / nodes)) } }
        tell(user)
        for outcome in outcomes { outcome.waiter.completion(outcome.isGranted) }
    }

    private func learn(_ user: UserName, nodes: Int, changes: Int64) {
        guard let entry = users[user], changes >= entry.changes else { return }
        users[user]?.changes = changes
        users[user]?.nodes = max(1, nodes)
        tell(user)
    }

    private func tellIfAwayChanged() {
        guard sharesRates, isAway != toldAway else { return }
        toldAway.toggle()
        for user in users.keys { tell(user) }
    }

    private func tell(_ user: UserName) {
        guard sharesRates, let entry = users[user], entry.count > 0,
            let nodes = toldAway ? max(1, numberOfNodes()) : entry.nodes, nodes != entry.told
        else { return }
        users[user]?.told = nodes
        onShare(user, nodes)
    }

    private func sweepOn() {
        guard let step = sweep.next() else { return }
        context.client.send(commands.scan(step)) { [weak self] result in
            guard let self else { return }
            for user in sweep.answered(step, try? result.get()) where users[user] == nil { forget(user) }
            if case .success = result { send() }
        }
    }
}
