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

    private let context: NodeContext
    private var confirmed = Array(repeating: ConfirmedPublications(), count: ClusterKeys.tags)
    /// Tags about which the engine could not be asked.
    private var unchecked: Set<Int> = []
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
        confirmed[tag].add(.init(channel: publication.channel, number: number, time: time, at: .now()))
    }

    /// Asks whether everything is still there.
    func check() { for tag in confirmed.indices { check(tag) } }

    /// Tries again what has failed.
    func checkAgain() {
        for tag in unchecked where confirmed.indices.contains(tag) { check(tag) }
        tellNext()
    }

    private func check(_ tag: Int) {
        unchecked.remove(tag)
        confirmed[tag].expire(.now())
        guard let last = confirmed[tag].last else { return }
        let command = RedisCommand.run(
            ClusterScripts.lastPublished,
            keys: [context.keys.published(tag, by: context.publisher)],
            arguments: [.number(Int64(clamping: last))]
        )
        // Over the connection of the publications, so that later ones come behind it.
        context.publishingClient.send(command) { [weak self] result in
            guard let self else { return }
            guard let answer = (try? result.get())?.integer, let found = UInt64(exactly: answer) else {
                unchecked.insert(tag)
                return
            }
            guard found < last else { return }
            untold.append(contentsOf: confirmed[tag].take(above: found, upTo: last))
            tellNext()
        }
    }

    private func tellNext() {
        while underWay < Self.mostUnderWay, context.client.isUp, let entry = untold.popFirst() { tell(entry) }
    }

    private func tell(_ entry: ConfirmedPublications.Entry) {
        let (channel, keys) = (entry.channel, context.keys)
        let command = RedisCommand.run(
            ClusterScripts.tellLost,
            keys: [
                keys.head(channel), keys.history(channel), keys.counter(ClusterKeys.tag(of: channel)),
                keys.epochBegan(channel),
            ],
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
                if answer.integer == 1 {
                    context.warn(
                        "Redis has lost publications that it had confirmed; their channel begins a new epoch",
                        ["channel": "\(channel.text)"]
                    )
                }
                tellNext()
            case .failure(let failure):
                // Tried again when the counters are compared next.
                untold.append(entry)
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
