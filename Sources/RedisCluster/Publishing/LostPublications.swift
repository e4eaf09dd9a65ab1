import DequeModule
import Logging
import NIOCore
import RedisClient
import SidecarCore

/// Finds out what the engine has confirmed to this node and lost since, as in a failover, and begins new epochs in the
/// channels concerned, so that all their subscribers are told.
///
/// A subscriber that got such a message finds out by itself. One that did not, since it was cut off then or is at another
/// server, cannot.
final class LostPublications {
    /// The most commands under way.
    private static let mostUnderWay = 100
    /// The pause before a question that has failed is asked again.
    private static let retryPause = TimeAmount.milliseconds(200)

    private let context: NodeContext
    private var confirmed = Array(repeating: ConfirmedPublications(), count: ClusterKeys.tags)
    /// What could not be found out, by tag.
    private var unanswered: [Int: [ConfirmedPublications.Entry]] = [:]
    /// Whether the next turn asks about everything once more: the last connection may have confirmed something late.
    private var isLateCheckDue = false
    private var isRetryDue = false
    /// What is lost, and was not told.
    private var untold: Deque<ConfirmedPublications.Entry> = []
    private var underWay = 0

    init(_ context: NodeContext) {
        self.context = context
    }

    /// The engine has confirmed a publication.
    ///
    /// - Parameter time: When it was stored, in milliseconds since 1970 by the engine's clock.
    func confirmed(_ publication: PendingPublication, at time: Int64) {
        guard let number = publication.number, case let tag = ClusterKeys.tag(of: publication.channel),
            confirmed.indices.contains(tag)
        else { return }
        confirmed[tag].add(.init(channel: publication.channel, number: number, time: time))
    }

    /// The engine has connected: asks whether everything is still there.
    func connected() {
        isLateCheckDue = true
        checkAll()
    }

    /// The counters are compared: a good time to go on.
    func checkAgain() {
        if isLateCheckDue {
            isLateCheckDue = false
            checkAll()
        } else {
            askAgain()
        }
        tellNext()
    }

    private func checkAll() {
        for tag in confirmed.indices {
            let open = unanswered.removeValue(forKey: tag) ?? []
            check(tag, open + confirmed[tag].takeAll(at: context.clock.now))
        }
    }

    private func check(_ tag: Int, _ entries: [ConfirmedPublications.Entry]) {
        guard !entries.isEmpty else { return }
        let command = RedisCommand.run(
            ClusterScripts.findLost,
            keys: [context.keys.published(tag, by: context.publisher)],
            arguments: entries.map { .number(Int64(clamping: $0.number)) }
        )
        // Over the connection of the publications, so that later ones come behind it.
        context.publishingClient.send(command) { [weak self] result in
            guard let self else { return }
            guard let items = (try? result.get())?.items else { return failed(tag, entries, result) }
            let numbers = Set(items.compactMap { $0.text.flatMap { UInt64($0) } })
            for entry in entries where !numbers.contains(entry.number) { confirmed[tag].add(entry) }
            tellLater(entries.filter { numbers.contains($0.number) })
            tellNext()
        }
    }

    private func failed(
        _ tag: Int,
        _ entries: [ConfirmedPublications.Entry],
        _ result: Result<RESPValue, RedisFailure>
    ) {
        let all = unanswered[tag, default: []] + entries
        // What is too much to be asked about is taken for lost.
        let excess = max(0, all.count - 4 * ConfirmedPublications.channels)
        tellLater(all.prefix(excess))
        unanswered[tag] = Array(all.dropFirst(excess))
        if case .failure(.refused(let reply)) = result {
            // Asked again when the counters are compared next.
            return context.warn(
                "Redis cannot be asked whether it has lost publications; will retry",
                ["why": "\(reply.sentence)"],
                perMinute: NodeContext.fewLines
            )
        }
        guard !isRetryDue else { return }
        isRetryDue = true
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.retryPause) { [weak self] in
            self?.isRetryDue = false
            self?.askAgain()
        }
    }

    /// Asks once more what has failed; without a connection that is up, the next one asks.
    private func askAgain() {
        for tag in unanswered.keys where context.publishingClient.isUp(forKey: context.keys.counter(tag)) {
            check(tag, unanswered.removeValue(forKey: tag) ?? [])
        }
    }

    private func tellLater(_ entries: some Sequence<ConfirmedPublications.Entry>) {
        untold.append(contentsOf: entries)
        let excess = untold.count - context.settings.maxUntoldLosses
        guard excess > 0 else { return }
        untold.removeFirst(excess)
        context.metrics.publicationsLostUntold(excess)
        context.warn(
            "subscribers are not told of some lost publications, since too many are waiting for Redis",
            ["publications": "\(excess)"],
            perMinute: NodeContext.fewLines
        )
    }

    private func tellNext() {
        while underWay < Self.mostUnderWay, context.client.isUp, let entry = untold.popFirst() { tell(entry) }
    }

    private func tell(_ entry: ConfirmedPublications.Entry) {
        let (channel, keys) = (entry.channel, context.keys)
        let command = RedisCommand.run(
            ClusterScripts.tellLost,
            keys: [keys.head(channel), keys.history(channel), keys.counter(ClusterKeys.tag(of: channel))],
            arguments: [
                .number(entry.time), .text(.newEpoch()), .text(.newID()), .number(context.keepTime(of: channel)),
            ]
        )
        underWay += 1
        context.client.send(command) { [weak self] result in
            guard let self else { return }
            underWay -= 1
            switch result {
            case .success(let answer):
                context.metrics.publicationLost()
                if answer.integer == 1 {
                    context.warn(
                        "Redis has lost a publication that it had confirmed; its channel begins a new epoch",
                        ["channel": "\(channel.text)"]
                    )
                }
                tellNext()
            case .failure(let failure):
                // Tried again when the counters are compared next.
                tellLater(CollectionOfOne(entry))
                guard case .refused(let reply) = failure else { return }
                context.warn(
                    "subscribers cannot be told of lost publications for now; will retry",
                    ["channel": "\(channel.text)", "why": "\(reply.sentence)"],
                    perMinute: NodeContext.fewLines
                )
            }
        }
    }
}
