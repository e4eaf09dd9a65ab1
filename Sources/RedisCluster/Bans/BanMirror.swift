import Logging
import NIOCore
import RedisClient
import SidecarCore

/// The bans of the engine as this node knows them, and its changes to them.
///
/// While the engine is away the last known ones hold; if it has lost them, they are put back. Lives on the event loop of
/// its context.
final class BanMirror {
    /// The pause after a command that has failed.
    private static let retryPause = TimeAmount.milliseconds(500)
    /// Bans that end sooner, in milliseconds, may be missing because they have ended.
    private static let shortestLoss: Int64 = 2_000

    /// What has to be subscribed.
    let topics: [String]
    private let context: NodeContext
    private let seal: BanSeal
    private let onChange: ([ClusterBan]) -> Void
    /// By subject.
    private var bans: [String: StoredBan] = [:]
    /// The number of changes that are known.
    private var version: Int64 = 0
    private var isLoading = false
    /// Whether to read once more, when what is under way is done.
    private var isDue = false
    private var isPausing = false

    /// - Parameters:
    ///   - seal: Seals a ban; the second argument says whom it is about.
    ///   - open: Opens what was sealed; nil unless it was sealed with a known secret and the same second argument.
    ///   - onChange: Told all bans in force whenever they have changed, except by ending in time.
    init(
        _ context: NodeContext,
        seal: @escaping (ByteBuffer, _ context: String) -> ByteBuffer,
        open: @escaping (ByteBuffer, _ context: String) -> ByteBuffer?,
        onChange: @escaping ([ClusterBan]) -> Void
    ) {
        self.context = context
        topics = [context.keys.banTopic]
        self.seal = BanSeal(seal: seal, open: open)
        self.onChange = onChange
    }

    // MARK: What the engine tells

    /// The engine is there, at first or again.
    func engineIsUp() { load() }

    /// The topic is subscribed, at first or again: changes may have been missed.
    func subscribed(_ topic: String) { if topics.contains(topic) { load() } }

    /// The engine has so many changes; nil when it has none.
    func check(_ version: Int64?) { if version ?? 0 != self.version { load() } }

    /// The bans have changed.
    func received(_ topic: String, _ payload: ByteBuffer) {
        guard topics.contains(topic) else { return }
        guard let change = BanChange(payload) else {
            context.warn("a message about bans cannot be read", [:])
            return load()
        }
        guard let field = change.field else { return load() }
        if change.number == version + 1 {
            apply(change.number, field, change.value)
        } else if change.number > version || bans[field]?.value != change.value {
            load()
        }
    }

    // MARK: Changes of this node

    /// Adds a ban, or changes the end of an existing one; then it holds here too.
    func put(
        _ ban: ClusterBan,
        isAutomatic: Bool,
        _ completion: @escaping (Result<BanTable.Addition, StoreFailure>) -> Void
    ) {
        let stored = StoredBan(ban, now: context.clock.now, seal)
        let (field, keys) = (StoredBan.field(ban.subject), context.keys)
        let command = RedisCommand.run(
            BanScripts.put,
            keys: [keys.bans, keys.banVersion, keys.nextBanEnd],
            arguments: [
                .text(field), .bytes(stored.value), .number(stored.until), isAutomatic ? 1 : 0, publish,
                .text(keys.banTopic),
            ]
        )
        ask(command, completion) { [weak self] value in
            guard let items = value.items, items.count == 3, let number = items[1].integer, let ban = items[2].bytes,
                let addition = Self.additions[items[0].text ?? ""]
            else { return nil }
            if addition != .full { self?.changed(number, field, ban) }
            return addition
        }
    }

    private static let additions: [String: BanTable.Addition] = [
        "added": .added, "replaced": .replaced, "kept": .replaced, "full": .full,
    ]

    /// Ends a ban; false when there is none.
    func remove(_ subject: BanSubject, _ completion: @escaping (Result<Bool, StoreFailure>) -> Void) {
        let (field, keys) = (StoredBan.field(subject), context.keys)
        let command = RedisCommand.run(
            BanScripts.remove,
            keys: [keys.bans, keys.banVersion],
            arguments: [.text(field), publish, .text(keys.banTopic)]
        )
        ask(command, completion) { [weak self] value in
            guard let items = value.items, items.count == 2, let count = items[0].integer,
                let number = items[1].integer
            else { return nil }
            self?.changed(number, field, nil)
            return count == 1
        }
    }

    private var publish: RedisArgument { .text(context.client.usesShardedPubSub ? "SPUBLISH" : "PUBLISH") }

    private func ask<Answer>(
        _ command: RedisCommand,
        _ completion: @escaping (Result<Answer, StoreFailure>) -> Void,
        _ read: @escaping (RESPValue) -> Answer?
    ) {
        guard context.client.isUp(forKey: context.keys.bans) else {
            return completion(.failure(.unavailable("Redis is not available.")))
        }
        context.client.send(command) { result in
            switch result {
            case .success(let value):
                guard let answer = read(value) else {
                    return completion(.failure(.unavailable(AnswerFault.wrongShape.sentence)))
                }
                completion(.success(answer))
            case .failure(let failure): completion(.failure(.unavailable(failure.sentence)))
            }
        }
    }

    /// A command has found or left the engine so.
    private func changed(_ number: Int64, _ field: String, _ value: ByteBuffer?) {
        guard (0..<BanScripts.mostChanges).contains(number) else { return load() }
        apply(number == version + 1 ? number : version, field, value)
        if number != version { load() }
    }

    // MARK: What is known

    private func apply(_ number: Int64, _ field: String, _ value: ByteBuffer?) {
        version = number
        var ban: StoredBan?
        do throws(BanFault) {
            ban = try value.map { value throws(BanFault) in try StoredBan(field: field, value: value, seal) }
        } catch {
            warn(error, field)
        }
        let now = context.clock.now
        if let end = ban?.until, end <= now || (bans[field] == nil && !hasRoom(now)) { ban = nil }
        guard bans[field] != ban else { return }
        bans[field] = ban
        tell(now)
    }

    private func hasRoom(_ now: Int64) -> Bool {
        if bans.count >= BanScripts.capacity { bans = bans.filter { $0.value.until > now } }
        return bans.count < BanScripts.capacity
    }

    private func tell(_ now: Int64) { onChange(bans.values.filter { $0.until > now }.map { $0.ban(now: now) }) }

    private func warn(_ fault: BanFault, _ field: String) {
        context.warn(
            "a ban of the engine is ignored",
            ["ban": "\(String(field.prefix(300)))", "why": "\(fault.sentence)"]
        )
    }

    // MARK: Reading all

    private func load() {
        guard !isLoading, !isPausing else {
            isDue = true
            return
        }
        guard context.client.isUp(forKey: context.keys.bans) else { return }  // read when it is there
        isLoading = true
        isDue = false
        let keys = context.keys
        let (sentAt, before) = (NIODeadline.now(), version)
        context.client.send(.run(BanScripts.load, keys: [keys.bans, keys.banVersion], arguments: [])) {
            [weak self] result in
            guard let self else { return }
            isLoading = false
            guard let answer = read(result) else { return loadLater() }
            context.clock.learned(answer.time, roundTrip: .now() - sentAt)
            loaded(answer, before)
            if isDue { load() }
        }
    }

    private func read(_ result: Result<RESPValue, RedisFailure>) -> BanListing? {
        let why: String
        switch result {
        case .success(let value):
            if let listing = BanListing(value) { return listing }
            why = AnswerFault.wrongShape.sentence
        case .failure(.refused(let reply)): why = reply.sentence
        case .failure: return nil  // said elsewhere
        }
        context.warn(
            "the bans of the engine cannot be read",
            ["why": "\(why)"],
            perMinute: NodeContext.fewLines
        )
        return nil
    }

    /// The pause also keeps bans that are lost again and again from being put back without end.
    private func loadLater() {
        isPausing = true
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.retryPause) { [weak self] in
            self?.isPausing = false
            self?.load()
        }
    }

    /// - Parameter before: What was known when the engine was asked.
    private func loaded(_ answer: BanListing, _ before: Int64) {
        if answer.version < version, answer.version >= before {
            isDue = true  // a change has come in the meantime
            return
        }
        var all: [String: StoredBan] = [:]
        for (field, value) in answer.bans.prefix(BanScripts.capacity) {
            if let known = bans[field], known.value == value {
                all[field] = known
                continue
            }
            do throws(BanFault) {
                all[field] = try StoredBan(field: field, value: value, seal)
            } catch {
                warn(error, field)
            }
        }
        let lost = answer.version > version ? [] : missing(in: answer)
        let hasRoom = answer.bans.count < BanScripts.capacity
        if !lost.isEmpty, !hasRoom {
            context.warn("Redis has lost bans, and has no room to put them back", ["bans": "\(lost.count)"])
        }
        if answer.version < version || (!lost.isEmpty && hasRoom) {
            if hasRoom { for (field, ban) in lost { all[field] = ban } }
            restore(hasRoom ? lost : [])
        } else {
            version = answer.version
        }
        all = all.filter { $0.value.until > answer.time }
        let hasChanged = bans.filter { $0.value.until > answer.time } != all
        bans = all
        if hasChanged { tell(answer.time) }
    }

    private func missing(in answer: BanListing) -> [(field: String, ban: StoredBan)] {
        let there = Set(answer.bans.map(\.field))
        return bans.filter { $0.value.until > answer.time + Self.shortestLoss && !there.contains($0.key) }
            .map { ($0.key, $0.value) }
    }

    /// Puts back what the engine has lost, in one step, so that no node reads a part of it; and then reads again.
    private func restore(_ lost: [(field: String, ban: StoredBan)]) {
        let keys = context.keys
        var arguments: [RedisArgument] = [.number(version), publish, .text(keys.banTopic)]
        for (field, ban) in lost { arguments += [.text(field), .bytes(ban.value)] }
        let command = RedisCommand.run(
            BanScripts.restore,
            keys: [keys.bans, keys.banVersion, keys.nextBanEnd],
            arguments: arguments
        )
        isLoading = true
        context.client.send(command) { [weak self] result in
            guard let self else { return }
            isLoading = false
            if let items = (try? result.get())?.items, items.count == 2, let count = items[0].integer, count > 0,
                let number = items[1].integer, number < .max
            {
                context.warn("Redis has lost bans; they are put back", ["bans": "\(count)"])
                version = max(version, number)
            }
            loadLater()
        }
    }
}
