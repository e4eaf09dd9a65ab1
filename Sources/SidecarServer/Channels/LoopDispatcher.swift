import NIOCore
import SidecarCore
import Synchronization

/// Queues what the broker receives on the event loops with subscribers, in the order of the positions.
///
/// It does not know the broker, so it cannot call back into it.
final class LoopDispatcher: ChannelBrokerEvents {
    private final class Stripe: Sendable {
        let table = Mutex(LoopTable())
    }
    private final class Inboxes: Sendable {
        let list: [ChannelInbox]
        init(_ list: [ChannelInbox]) { self.list = list }
    }

    typealias SendReport = @Sendable (_ counts: PublicationTally.Counts, _ report: String, _ node: String) -> Void
    private final class Reporter: Sendable {
        let send: SendReport
        init(_ send: @escaping SendReport) { self.send = send }
    }

    private let rules: ChannelRules
    /// Who is in the channels; nil without `presence=on`.
    let members: ChannelMembers?
    private let reporter = AtomicLazyReference<Reporter>()
    private let servesStreams: Bool
    private let occupancy: Occupancy?
    private let stripes = (0..<64).map { _ in Stripe() }
    private let added = Mutex<[ChannelInbox]>([])
    /// All inboxes, once there are subscribers: then no loop is added any more, and no lock is needed.
    private let all = AtomicLazyReference<Inboxes>()
    /// The loops that have to be woken, as a ``LoopSet``.
    private let toWake = Atomic<UInt64>(0)

    init(settings: Settings, occupancy: Occupancy?) {
        rules = ChannelRules(settings)
        members = ChannelMembers(rules)
        servesStreams = settings.ssePaths != nil
        self.occupancy = occupancy
    }

    /// Adds an event loop, before there are subscribers; returns its number.
    func add(_ inbox: ChannelInbox) -> Int {
        added.withLock {
            $0.append(inbox)
            return $0.count - 1
        }
    }

    private var inboxes: [ChannelInbox] {
        if let all = all.load() { return all.list }
        return all.storeIfNil(Inboxes(added.withLock { $0 })).list
    }

    /// A publication as all its subscribers share it.
    func prepare(_ publication: Publication) -> PreparedMessage {
        PreparedMessage(
            publication.format,
            publication.payload,
            event: publication.event,
            action: rules.policy(for: publication.channel)?.action
        )
    }

    func allowsClientEvents(in channel: ChannelName) -> Bool { rules.policy(for: channel)?.allowsClientEvents ?? false }
    func closesOnGap(_ channel: ChannelName) -> Bool { rules.policy(for: channel)?.closesOnGap ?? false }

    // MARK: Subscriptions

    /// - Returns: Whether it is the first one on the node.
    func joined(_ channel: ChannelName, onLoop loop: Int) -> Bool {
        stripe(of: channel).table.withLock { $0.joined(channel, onLoop: loop) }
    }

    /// - Returns: Whether it was the last one on the node.
    func left(_ channel: ChannelName, onLoop loop: Int, isLastOfLoop: Bool) -> Bool {
        stripe(of: channel).table.withLock { $0.left(channel, onLoop: loop, isLastOfLoop: isLastOfLoop) }
    }

    func connections(in channel: ChannelName) -> Int {
        stripe(of: channel).table.withLock { $0.connections(in: channel) }
    }

    private func stripe(of channel: ChannelName) -> Stripe {
        stripes[Int(UInt(bitPattern: channel.hashValue) % UInt(stripes.count))]
    }

    // MARK: Events of the broker

    func received(_ envelope: ChannelEnvelope, at position: ChannelPosition, time: Int64?) {
        let publication = envelope.publication
        let loops = stripe(of: publication.channel).table.withLock { $0.loops(of: publication.channel) }
        guard !loops.isEmpty else {
            reporting(envelope, onLoops: 0, at: position)
            return
        }
        let inboxes = inboxes
        let count = inboxes.indices.count { loops.contains($0) }
        let tally = envelope.context as? PublicationTally
        tally?.received(onLoops: count)
        let reported = tally ?? reporting(envelope, onLoops: count, at: position)
        let item = ChannelInbox.Item.publication(
            ChannelDelivery(
                reported?.message ?? envelope.context as? PreparedMessage ?? prepare(publication),
                of: publication.channel,
                at: position,
                mark: servesStreams ? position.mark : nil,
                time: time,
                excluding: envelope.excluded,
                tally: reported
            )
        )
        var sleeping = LoopSet()
        for loop in inboxes.indices where loops.contains(loop) && inboxes[loop].append(item) {
            sleeping.insert(loop)
        }
        if !sleeping.isEmpty { toWake.bitwiseOr(sleeping.bits, ordering: .releasing) }
    }

    func received(_ event: ClientBroadcast) {
        append(.clientEvent(event, SharedFrame { $0.clientEvent(event) }), of: event.channel)
    }

    func received(_ notice: MemberNotice, from node: NodeID) { members?.received(notice, from: node) }

    /// Tells the clients in a channel that a user has come or gone, once ``receiveComplete()`` is called.
    ///
    /// - Parameter count: The number of users now.
    func tell(_ event: MemberEvent, in channel: ChannelName, count: Int) {
        append(.member(channel, event, SharedFrame { $0.write(.member(channel, event, count: count)) }), of: channel)
    }

    /// Appends an item that is in no order with messages.
    private func append(_ item: ChannelInbox.Item, of channel: ChannelName) {
        let loops = stripe(of: channel).table.withLock { $0.loops(of: channel) }
        guard !loops.isEmpty else { return }
        var sleeping = LoopSet()
        let inboxes = inboxes
        for loop in inboxes.indices where loops.contains(loop) && inboxes[loop].append(item) { sleeping.insert(loop) }
        if !sleeping.isEmpty { toWake.bitwiseOr(sleeping.bits, ordering: .releasing) }
    }

    /// Counts who gets a message of another node that wants to know it.
    @discardableResult
    private func reporting(
        _ envelope: ChannelEnvelope,
        onLoops count: Int,
        at position: ChannelPosition
    ) -> PublicationTally? {
        guard let report = envelope.report, let node = envelope.origin, let reporter = reporter.load() else {
            return nil
        }
        let tally = PublicationTally(of: prepare(envelope.publication), waitsForKernel: true)
        tally.received(onLoops: count)
        tally.published(.success(position))
        Task { reporter.send(await tally.result().1, report, node) }
        return tally
    }

    func sendReports(by send: @escaping SendReport) { _ = reporter.storeIfNil(Reporter(send)) }

    /// Waking a loop may be a system call, so it is done when the broker holds no lock.
    func receiveComplete() {
        guard toWake.load(ordering: .relaxed) != 0 else { return }
        let sleeping = LoopSet(bits: toWake.exchange(0, ordering: .acquiring))
        let inboxes = inboxes
        for loop in inboxes.indices where sleeping.contains(loop) { inboxes[loop].wake() }
    }

    func occupancyChanged(_ channel: ChannelName, isOccupied: Bool) {
        occupancy?.changed(channel, isOccupied: isOccupied)
    }

    /// Nothing follows before it is known what was lost.
    func interrupted() {}

    func resumed(_ channel: ChannelName, isComplete: Bool, at position: ChannelPosition) {
        members?.resumed(channel)
        let loops = stripe(of: channel).table.withLock { $0.loops(of: channel) }
        guard !loops.isEmpty else { return }
        let inboxes = inboxes
        for loop in inboxes.indices where loops.contains(loop) {
            let item = ChannelInbox.Item.resumed(channel, isComplete: isComplete, at: position)
            if inboxes[loop].append(item) { inboxes[loop].wake() }
        }
    }
}
