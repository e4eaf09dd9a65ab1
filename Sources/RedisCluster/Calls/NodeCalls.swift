import CoreMetrics
import Logging
import NIOCore
import RedisClient
import SidecarCore

/// Questions from node to node, over a topic that each node has for itself.
///
/// With `CLUSTER_SECRET` a message can be read and made only by those who have it, belongs to its receiver and its number,
/// and counts once.
final class NodeCalls {
    /// The most questions of others that are answered at once.
    private static let mostAnswers = 1000
    /// The most POSTs of others that wait for an answer at once.
    private static let mostPosts = 50_000
    /// The most senders whose numbers are remembered.
    private static let mostSenders = 10_000
    /// How old a message may be, in milliseconds.
    private static let oldest: Int64 = 300_000

    private struct Question {
        var left: Set<NodeID>
        var answers: [NodeID: NodeAnswer] = [:]
        let completion: ([NodeID: NodeAnswer]) -> Void
        let timer: Scheduled<Void>
    }

    private let context: NodeContext
    private var number: UInt64 = 0
    private var questions: [UInt64: Question] = [:]
    private var answering = 0
    private var waitingPosts = 0
    private var senders: [NodeID: SeenNumbers] = [:]
    private let refused = CallRefusal.allCases.reduce(into: [CallRefusal: Counter]()) {
        $0[$1] = Counter(
            label: "sidesocket_cluster_messages_refused_total",
            dimensions: [("reason", $1.rawValue)]
        )
    }

    /// Nodes that have not answered in time, and until when nobody waits for them again.
    private var silent: [NodeID: NIODeadline] = [:]
    private static let silence = TimeAmount.seconds(5)
    private static let mostSilent = 1000

    /// The name of a node; nil when it is not known.
    private let name: (NodeID) -> String?

    init(_ context: NodeContext, name: @escaping (NodeID) -> String?) {
        self.context = context
        self.name = name
    }

    /// Where this node is asked, and where others report about what it has published.
    private(set) var inboxes: Set<String> = []

    /// Listens under the node's present identity.
    func listen() {
        let wanted = Set([context.publisher, context.incarnation].map { context.keys.inbox(of: $0) })
        let (new, old) = (wanted.subtracting(inboxes), inboxes.subtracting(wanted))
        inboxes = wanted
        context.client.subscribe(new.map { RedisChannel(name: $0) })
        context.client.unsubscribe(old.map { RedisChannel(name: $0) })
    }

    // MARK: Asking

    /// Asks nodes, and waits for their answers for a time.
    ///
    /// A node that has just been silent is not asked until it is heard of, or some seconds later: otherwise each of many
    /// calls would wait for it.
    func ask(_ nodes: [NodeID], _ request: NodeRequest, _ completion: @escaping ([NodeID: NodeAnswer]) -> Void) {
        let nodes =
            silent.isEmpty || request.isAboutMoves ? nodes : nodes.filter { silent[$0].map { $0 <= .now() } ?? true }
        guard !nodes.isEmpty, context.client.isUp else { return completion([:]) }
        number += 1
        let (number, body) = (number, request.json)
        let timeout = context.settings.timeout + request.patience
        let timer = context.eventLoop.assumeIsolated().scheduleTask(in: timeout) { [weak self] () -> Void in
            self?.timedOut(number)
        }
        questions[number] = Question(left: Set(nodes), completion: completion, timer: timer)
        for node in nodes {
            send(.question, number, body, to: node) { [weak self] receivers in
                // Redis Cluster without sharded topics counts only those at one of its nodes.
                guard receivers == 0, self?.context.isSharded == false else { return }
                self?.unreachable(node, number)
            }
        }
    }

    private func send(
        _ kind: CallHead.Kind,
        _ number: UInt64,
        _ body: ByteBuffer,
        to node: NodeID,
        _ completion: @escaping (_ receivers: Int64?) -> Void
    ) {
        let own = context.incarnation
        let head = CallHead(kind, sender: own, number: number, time: context.clock.now).text
        var message = ByteBuffer(string: head + "\n")
        message.writeImmutableBuffer(context.seal.seal(body, by: own, as: "\(head) \(node)"))
        let topic = context.keys.inbox(of: node)
        let command = RedisCommand(
            context.client.usesShardedPubSub ? "SPUBLISH" : "PUBLISH",
            [.text(topic), .bytes(message)],
            slotKey: topic
        )
        context.client.send(command) { completion((try? $0.get())?.integer) }
    }

    private func unreachable(_ node: NodeID, _ number: UInt64) {
        guard questions[number]?.left.remove(node) != nil, questions[number]?.left.isEmpty == true else { return }
        finish(number)
    }

    /// The engine was away, which says nothing about the other nodes.
    func engineIsUp() { silent = [:] }

    private func timedOut(_ number: UInt64) {
        let now = NIODeadline.now()
        if silent.count >= Self.mostSilent { silent = silent.filter { $0.value > now } }
        for node in questions[number]?.left ?? [] where silent.count < Self.mostSilent {
            silent[node] = now + Self.silence
        }
        finish(number)
    }

    private func finish(_ number: UInt64) {
        guard let question = questions.removeValue(forKey: number) else { return }
        question.timer.cancel()
        question.completion(question.answers)
    }

    // MARK: Receiving

    /// A message has come.
    ///
    /// - Returns: The node that asks; nil for an answer, and for what is refused.
    func received(_ topic: String, _ payload: ByteBuffer) -> NodeID? {
        var bytes = payload
        guard let head = CallHead(&bytes), let receiver = context.keys.node(ofInbox: topic) else {
            return refuse(.format, "?")
        }
        guard let body = context.seal.open(bytes, by: head.sender, as: "\(head.text) \(receiver)") else {
            return refuse(.secret, head.sender)
        }
        silent[head.sender] = nil
        if let age = context.clock.age(of: head.time), age > Self.oldest { return refuse(.old, head.sender) }
        switch head.kind {
        case .question:
            guard senders[head.sender] != nil || senders.count < Self.mostSenders else {
                return refuse(.senders, head.sender)
            }
            guard senders[head.sender, default: SeenNumbers()].take(head.number) else {
                return refuse(.repeated, head.sender)
            }
            answer(body, head)
            return head.sender
        case .answer:
            guard questions[head.number]?.left.remove(head.sender) != nil else { return nil }
            questions[head.number]?.answers[head.sender] = NodeAnswer(json: body) ?? .failed(.unknownRequest)
            if questions[head.number]?.left.isEmpty == true { finish(head.number) }
            return nil
        }
    }

    private func answer(_ body: ByteBuffer, _ head: CallHead) {
        guard let request = NodeRequest(json: body) else { return reply(.failed(.unknownRequest), to: head) }
        let isPost = if case .post = request { true } else { false }
        guard isPost ? waitingPosts < Self.mostPosts : answering < Self.mostAnswers, let node = context.link.node else {
            return reply(.failed(.unavailable("The node has too much to do.")), to: head)
        }
        if isPost { waitingPosts += 1 } else { answering += 1 }
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        Task {
            let answer = await node.answer(request, from: head.sender)
            eventLoop.execute {
                if isPost { bound.value.waitingPosts -= 1 } else { bound.value.answering -= 1 }
                bound.value.reply(answer, to: head)
            }
        }
    }

    private func reply(_ answer: NodeAnswer, to head: CallHead) {
        send(.answer, head.number, answer.json, to: head.sender) { _ in }
    }

    private func refuse(_ reason: CallRefusal, _ sender: String) -> NodeID? {
        refused[reason]?.increment()
        context.warn(
            "a message from another node was refused",
            ["reason": "\(reason.rawValue)", "node": "\(name(sender) ?? sender)", "remedy": "\(reason.remedy)"]
        )
        return nil
    }

    /// Ends all questions.
    func stop() { for number in questions.keys { finish(number) } }
}

/// Why a message from another node is not taken.
enum CallRefusal: String, CaseIterable {
    case format
    /// It was not made with this node's secret.
    case secret
    case repeated
    case old
    /// Too many nodes have sent something.
    case senders

    var remedy: String {
        switch self {
        case .secret:
            "set the same SIDESOCKET_CLUSTER_SECRET on all nodes; while it changes, both secrets separated by a space"
        case .format: "give each cluster its own SIDESOCKET_CLUSTER_PREFIX"
        case .repeated, .old, .senders: "let nobody but Sidesocket write to Redis"
        }
    }
}

extension NodeRequest {
    /// How much longer the answer may take than others.
    var patience: TimeAmount {
        switch self {
        // As long as a client needs to take a message.
        case .send(let message, _, _) where message.waitsForKernel: .seconds(10)
        case .sendToUser(let message, _, _) where message.waitsForKernel: .seconds(10)
        case .post(_, _, let wait): .milliseconds(min(max(wait, 0), 3_600_000))
        default: mustBeAnswered ? .seconds(5) : .zero
        }
    }

    /// Whether it is worth to ask a node that has just been silent: without the answer a session is lost.
    var isAboutMoves: Bool {
        if case .findSession = self { true } else { mustBeAnswered }
    }

    /// Whether it matters more to have the answer than to have it soon: a session goes from one node to another.
    var mustBeAnswered: Bool {
        switch self {
        case .takeSession, .giveSession, .tookSession, .refusedSession, .hasSession: true
        default: false
        }
    }
}
