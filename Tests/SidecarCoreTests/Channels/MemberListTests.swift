import NIOCore
import Testing

@testable import SidecarCore

@Suite("Who is in a channel")
struct MemberListTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    private let room: ChannelName
    private var list: MemberList
    private var versions: UInt64 = 0

    init() throws {
        room = try #require(ChannelName("room"))
        list = MemberList(of: room)
    }

    private func after(_ seconds: Double) -> NIODeadline { start + .nanoseconds(Int64(seconds * 1e9)) }
    private func joined(_ user: UserName) -> MemberEvent { MemberEvent(user, hasJoined: true) }
    private func left(_ user: UserName) -> MemberEvent { MemberEvent(user, hasJoined: false) }

    private mutating func join(_ user: UserName?) -> MemberList.Effects {
        versions += 1
        return list.joined(user, version: versions)
    }

    private mutating func leave(_ user: UserName?, at second: Double = 0) -> MemberList.Effects {
        versions += 1
        return list.left(user, version: versions, at: after(second))
    }

    private func notice(_ before: UInt64, _ version: UInt64, _ change: MemberEvent?) -> MemberNotice {
        MemberNotice(channel: room, before: before, version: version, change: change)
    }

    private mutating func hear(
        _ node: NodeID,
        _ before: UInt64,
        _ version: UInt64,
        _ change: MemberEvent?,
        at second: Double = 0
    ) -> MemberList.Effects {
        list.received(notice(before, version, change), from: node, at: after(second))
    }

    private mutating func read(
        _ users: Set<UserName>,
        of node: NodeID,
        _ version: UInt64,
        at second: Double = 0
    ) -> MemberList.Effects {
        list.read(users, of: node, version: version, at: after(second))
    }

    // MARK: One node

    @Test("The first connection of a user is told here and elsewhere, the second to nobody")
    mutating func first() {
        #expect(join("bob").events == [joined("bob")])
        #expect(join("bob") == .init())
        let effects = join("ann")
        #expect(effects.events == [joined("ann")] && effects.notice == notice(1, 3, joined("ann")))
        #expect(list.snapshot == MemberSnapshot(users: ["ann", "bob"], count: 2))
        #expect(list.connections == 3)
    }

    @Test("A user leaves once the last connection has been gone for the grace; the other nodes are told at once")
    mutating func last() {
        _ = join("bob")
        _ = join("bob")
        #expect(leave("bob") == .init())
        let effects = leave("bob", at: 1)
        #expect(effects.events == [] && effects.dueAt == after(6))
        #expect(effects.notice == notice(1, 4, left("bob")))
        #expect(list.snapshot.count == 1)
        #expect(list.expire(at: after(5.9)) == [])
        #expect(list.expire(at: after(6)) == [left("bob")])
        #expect(list.expire(at: after(60)) == [])
        #expect(list.count == 0)
    }

    @Test("Without users the version is 0, and the next change follows that")
    mutating func versionBeginsAnew() {
        _ = join("bob")
        #expect(list.version == 1)
        _ = leave("bob")
        #expect(list.version == 0 && list.summary == notice(0, 0, nil))
        #expect(join("bob").notice == notice(0, 3, joined("bob")))
    }

    @Test("Who comes back within the grace is no news, however often")
    mutating func flapping() {
        _ = join("bob")
        for second in [0.0, 2, 4, 6] {
            _ = leave("bob", at: second)
            #expect(join("bob").events == [])
            #expect(list.expire(at: after(second + 1)) == [])
        }
        #expect(list.expire(at: after(60)) == [])
        _ = leave("bob", at: 61)
        #expect(list.expire(at: after(66)) == [left("bob")])
    }

    @Test("A connection without a user is counted, and told to nobody")
    mutating func nameless() {
        #expect(join(nil) == .init() && list.connections == 1 && list.count == 0)
        #expect(leave(nil) == .init() && list.connections == 0)
    }

    @Test("Names are at most a hundred, and the count is that of all")
    mutating func many() {
        for number in 0..<250 { _ = join("u\(number)") }
        let snapshot = list.snapshot
        #expect(snapshot.count == 250 && snapshot.users.count == 100 && snapshot.users == snapshot.users.sorted())
    }

    @Test("A user who goes that was never there changes nothing")
    mutating func unknown() {
        #expect(list.removed("bob", version: 1, at: start) == .init())
        #expect(list.version == 0)
    }

    // MARK: Several nodes

    @Test("A user is there as long as on any node")
    mutating func union() {
        _ = join("bob")
        #expect(hear("x", 0, 1, joined("bob")) == .init())
        #expect(hear("x", 1, 2, joined("ann")).events == [joined("ann")])
        #expect(leave("bob").dueAt == nil)
        #expect(hear("x", 2, 3, left("bob"), at: 1).dueAt == after(6))
        #expect(list.expire(at: after(6)) == [left("bob")])
        #expect(list.snapshot == MemberSnapshot(users: ["ann"], count: 1))
    }

    @Test("Who changes nodes was never gone")
    mutating func moving() {
        _ = hear("x", 0, 1, joined("bob"))
        _ = hear("x", 1, 2, left("bob"), at: 1)
        #expect(hear("y", 0, 7, joined("bob"), at: 5) == .init())
        #expect(list.expire(at: after(60)) == [])
        #expect(list.nodes == ["y"])
    }

    @Test("A change that does not follow the one before it calls for reading", arguments: [(3, 4), (0, 4)])
    mutating func missed(_ change: (before: UInt64, version: UInt64)) {
        _ = hear("x", 0, 1, joined("bob"))
        #expect(hear("x", change.before, change.version, joined("cid")).needsReading)
        // What comes meanwhile is kept.
        #expect(hear("x", 4, 5, joined("dan")) == .init())
        let effects = read(["ann", "cid"], of: "x", 4)
        #expect(Set(effects.events.map(\.user)) == ["ann", "cid", "dan"] && !effects.needsReading)
        #expect(effects.dueAt == after(5))
        #expect(list.expire(at: after(5)) == [left("bob")])
        #expect(hear("x", 5, 6, left("dan")) != .init())
    }

    @Test("What was told before the reading is ignored, and what does not follow it calls for another one")
    mutating func readingInBetween() {
        _ = hear("x", 3, 4, joined("bob"))
        _ = hear("x", 4, 5, left("bob"))
        #expect(read(["ann"], of: "x", 5).events == [joined("ann")])
        #expect(hear("x", 7, 8, joined("bob")).needsReading)
        _ = hear("x", 9, 10, joined("cid"))
        #expect(read(["ann", "bob"], of: "x", 8).needsReading)
        #expect(!read(["ann", "bob", "cid"], of: "x", 10).needsReading)
        #expect(list.count == 3)
    }

    @Test("A version alone calls for reading when it is another one")
    mutating func summaries() {
        #expect(hear("x", 0, 0, nil) == .init())
        #expect(hear("x", 4, 4, nil).needsReading)
        #expect(read(["bob"], of: "x", 4).events == [joined("bob")])
        #expect(hear("x", 4, 4, nil) == .init())
        #expect(hear("x", 0, 0, nil).needsReading)
        #expect(read([], of: "x", 0, at: 1).dueAt == after(6))
        #expect(list.nodes == [])
    }

    @Test("An old change is ignored")
    mutating func old() {
        _ = hear("x", 0, 4, joined("bob"))
        #expect(hear("x", 2, 3, joined("ann")) == .init())
        #expect(hear("x", 0, 4, joined("ann")) == .init())
    }

    @Test("A node that goes takes its users along, but for those who are elsewhere")
    mutating func lost() {
        _ = join("ann")
        _ = hear("x", 0, 1, joined("ann"))
        _ = hear("x", 1, 2, joined("bob"))
        _ = hear("y", 0, 1, joined("cid"))
        #expect(list.lost("x", at: after(1)).dueAt == after(6))
        #expect(list.lost("x", at: after(2)) == .init())
        #expect(list.expire(at: after(6)) == [left("bob")])
        #expect(list.nodes == ["y"])
    }

    @Test("A reading that failed leaves what is known, and the next change calls for another one")
    mutating func failed() {
        _ = hear("x", 0, 1, joined("bob"))
        #expect(hear("x", 2, 3, joined("ann")).needsReading)
        list.notRead("x")
        #expect(list.snapshot.users == ["bob"])
        #expect(hear("x", 3, 4, joined("cid")).needsReading)
        #expect(read(["ann", "bob", "cid"], of: "x", 4).events.count == 2)
    }

    @Test("A late answer of an earlier reading does not undo what is known")
    mutating func lateAnswer() {
        _ = hear("x", 0, 5, joined("bob"))
        #expect(read(["ann"], of: "x", 3) == .init())
        #expect(list.snapshot.users == ["bob"])
        #expect(read(["ann", "bob"], of: "x", 6).events == [joined("ann")])
    }

    @Test("Too many changes during a reading call for another one")
    mutating func flood() {
        _ = list.beginReading("x")
        for number in 0..<1_500 as Range<UInt64> { _ = hear("x", number, number + 1, joined("u\(number)")) }
        #expect(read([], of: "x", 0).needsReading)
        #expect(list.count == MemberList.mostWaiting)
        let all = Set((0..<1_500).map { UserName("u\($0)") })
        #expect(!read(all, of: "x", 1_500).needsReading)
        #expect(list.count == 1_500)
    }

    // MARK: Many nodes and faults

    /// Nodes that tell each other of their users over a network that loses messages; who has missed something reads.
    @Test(
        "Whatever is lost and however it is ordered, all nodes know the same in the end",
        arguments: 0..<40 as Range<UInt64>
    )
    func converges(seed: UInt64) {
        var random = RepeatableRandom(seed: seed)
        let names = ["a", "b", "c"]
        var lists = Dictionary(uniqueKeysWithValues: names.map { ($0, MemberList(of: room)) })
        var counts: [String: [UserName: Int]] = [:]
        var version: UInt64 = 0
        var now = start
        /// What has to be read: by whom, of whom.
        var reading: [(by: String, of: String)] = []

        func tell(_ notice: MemberNotice?, from node: String, loses: Bool) {
            guard let notice else { return }
            for other in names where other != node && !(loses && Bool.random(using: &random)) {
                if lists[other]?.received(notice, from: node, at: now).needsReading == true {
                    reading.append((other, node))
                }
            }
        }
        func readNext() {
            guard !reading.isEmpty else { return }
            let (one, other) = reading.remove(at: .random(in: reading.indices, using: &random))
            let users = Set(lists[other]?.usersHere(after: nil) ?? [])
            let known = lists[other]?.version ?? 0
            if lists[one]?.read(users, of: other, version: known, at: now).needsReading == true {
                reading.append((one, other))
            }
        }
        for _ in 0..<400 {
            now = now + .milliseconds(.random(in: 0...300, using: &random))
            version += 1
            let node = names.randomElement(using: &random) ?? "a"
            let user = UserName("u\(Int.random(in: 0..<6, using: &random))")
            let count = counts[node]?[user] ?? 0
            if count > 0, Bool.random(using: &random) {
                counts[node]?[user] = count - 1
                tell(lists[node]?.left(user, version: version, at: now).notice, from: node, loses: true)
            } else {
                counts[node, default: [:]][user] = count + 1
                tell(lists[node]?.joined(user, version: version).notice, from: node, loses: true)
            }
            if Int.random(in: 0..<4, using: &random) == 0 { readNext() }
            for name in names { _ = lists[name]?.expire(at: now) }
        }
        // The network is whole again, and each says what it has.
        for name in names { tell(lists[name]?.summary, from: name, loses: false) }
        while !reading.isEmpty { readNext() }
        now = now + .seconds(10)
        let present = Set(counts.values.flatMap { $0.filter { $0.value > 0 }.keys })
        for name in names {
            _ = lists[name]?.expire(at: now)
            #expect(Set(lists[name]?.snapshot.users ?? []) == present, "\(name)")
        }
    }
}
