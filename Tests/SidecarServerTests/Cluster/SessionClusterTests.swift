import NIOCore
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("Sessions in a cluster")
struct SessionClusterTests {
    private let engine = FakeEngine()

    private func rig(_ environment: [String: String] = [:]) throws -> SessionRig {
        let cluster = ["CLUSTER_URL": "redis://127.0.0.1:6379"]
        return try SessionRig(cluster.merging(environment) { $1 }, engine: engine)
    }

    /// Answers the oldest change, and lets the loop hear of it.
    private func registered(_ isDone: Bool, _ rig: SessionRig) {
        engine.answerChange(isDone)
        rig.passes(.milliseconds(50))
    }

    /// A client whose connection is registered, so that the app is asked.
    private func registeredClient(_ rig: SessionRig) throws -> SessionClient {
        let client = try rig.connect()
        rig.passes(.milliseconds(50))
        registered(true, rig)
        return client
    }

    @Test("The app is asked when the connection is registered, and it is struck when the app knows its end")
    func life() throws {
        let rig = try rig()
        let client = try rig.connect()
        rig.passes(.milliseconds(50))
        #expect(rig.app.asked == nil)
        #expect(engine.changes.first?.registered.map(\.id) == [client.session.id])
        #expect(engine.changes.first?.registered.first?.connection.isEmpty == false)
        registered(true, rig)
        #expect(rig.app.asked == "open")
        try rig.app.answer(204)
        rig.passes(.milliseconds(50))
        client.leaves()
        rig.passes(.milliseconds(50))
        #expect(engine.changes.isEmpty)
        try rig.app.answer(204)
        rig.passes(.milliseconds(50))
        #expect(engine.changes.first?.struck == [client.session.id])
        registered(true, rig)
    }

    @Test("Who leaves before the connection is registered is not told to the app")
    func leavesEarly() throws {
        let rig = try rig()
        let client = try rig.connect()
        rig.passes(.milliseconds(50))
        client.leaves()
        registered(true, rig)
        #expect(rig.app.heard.isEmpty)
        #expect(engine.changes.first?.struck == [client.session.id])
        registered(true, rig)
    }

    @Test("What the app says of the client is registered again")
    func identity() throws {
        let rig = try rig()
        let client = try registeredClient(rig)
        try rig.app.answer(204, "Sidesocket-State: s\r\n")
        rig.passes(.milliseconds(50))
        let again = try #require(engine.changes.first?.registered.first)
        #expect(again.id == client.session.id)
        #expect(try ConnectionIdentity(record: again.identity).state == "s")
        registered(true, rig)
    }

    @Test("While the engine does not answer nobody waits for it, and what is missing is registered later")
    func engineAway() throws {
        let rig = try rig()
        let first = try rig.connect()
        rig.passes(.milliseconds(50))
        registered(false, rig)
        #expect(rig.app.asked == "open")
        // The next one does not wait at all.
        let second = try rig.connect()
        rig.passes(.milliseconds(50))
        #expect(rig.app.heard == ["open", "open"])
        registered(false, rig)
        #expect(engine.changes.isEmpty)
        rig.context.registrations?.again(.missing)
        rig.passes(.milliseconds(50))
        let ids = Set([first.session.id, second.session.id])
        #expect(Set(engine.changes.first?.registered.map(\.id) ?? []) == ids)
        registered(true, rig)
        rig.context.registrations?.again(.missing)
        rig.passes(.milliseconds(50))
        #expect(engine.changes.isEmpty)
    }

    @Test("What comes while a batch is under way goes with the next, many at once")
    func batches() throws {
        let rig = try rig()
        let clients = try (0..<3).map { _ in try rig.connect() }
        rig.passes(.milliseconds(50))
        #expect(engine.changes.map(\.registered.count) == [3])
        let more = try (0..<2).map { _ in try rig.connect() }
        clients[0].leaves()
        rig.passes(.milliseconds(50))
        #expect(engine.changes.count == 1)
        registered(true, rig)
        #expect(engine.changes.map(\.registered.count) == [2])
        #expect(engine.changes.first?.struck == [clients[0].session.id])
        registered(true, rig)
        #expect(rig.app.heard.count == 4)
        withExtendedLifetime(more) {}
    }

    @Test("A node that was taken for lost closes what was claimed without a close event, and registers the rest again")
    func claimed() throws {
        let rig = try rig()
        let kept = try rig.connect()
        let claimed = try rig.connect()
        rig.passes(.milliseconds(50))
        registered(true, rig)
        try rig.app.answer(204)
        try rig.app.answer(204)
        rig.passes(.milliseconds(50))
        rig.context.registrations?.again(.anew(claimed: [claimed.session.id]))
        rig.passes(.milliseconds(50))
        #expect(claimed.transport.log == ["close 1012 the node was cut off; reconnect"])
        #expect(kept.transport.log.isEmpty)
        #expect(rig.closes.isEmpty)
        #expect(engine.changes.first?.registered.map(\.id) == [kept.session.id])
        #expect(engine.changes.first?.struck == [])
        registered(true, rig)
        kept.leaves()
        #expect(rig.closes.count == 1)
    }

    @Test("An engine that was emptied closes nobody")
    func emptied() throws {
        let rig = try rig()
        let client = try registeredClient(rig)
        try rig.app.answer(204)
        rig.passes(.milliseconds(50))
        rig.context.registrations?.again(.anew(claimed: []))
        rig.passes(.milliseconds(50))
        #expect(client.transport.log.isEmpty)
        #expect(engine.changes.first?.registered.map(\.id) == [client.session.id])
        registered(true, rig)
    }

    // MARK: Users

    @Test("A user whom the app names is counted over all nodes before the client is accepted")
    func userOfOpen() throws {
        let rig = try rig(["MAX_CONNECTIONS_PER_USER": "3"])
        let client = try registeredClient(rig)
        try rig.app.answer(204, "Sidesocket-User: bob\r\n")
        rig.passes(.milliseconds(50))
        #expect(engine.opens.map(\.0) == ["bob"] && engine.opens.map(\.1) == [3])
        #expect(client.responder.decisions.isEmpty)
        engine.answerOpen(true)
        rig.passes(.milliseconds(50))
        #expect(client.responder.decisions.count == 1)
        #expect(client.session.isRunning && client.session.user == "bob")
        while !engine.changes.isEmpty { registered(true, rig) }
        client.leaves()
        #expect(engine.closes == ["bob"])
    }

    @Test("A user who has too many is refused, counts nowhere, and the app gets the close event")
    func tooMany() throws {
        let rig = try rig(["MAX_CONNECTIONS_PER_USER": "3"])
        let client = try registeredClient(rig)
        try rig.app.answer(204, "Sidesocket-User: bob\r\n")
        rig.passes(.milliseconds(50))
        engine.answerOpen(false)
        rig.passes(.milliseconds(50))
        #expect(!client.session.isRunning)
        #expect(rig.users.all.isEmpty && engine.closes.isEmpty)
        #expect(rig.closes.count == 1)
    }

    @Test("A client that leaves while its user is counted gives the place back")
    func leavesWhileCounting() throws {
        let rig = try rig(["MAX_CONNECTIONS_PER_USER": "3"])
        let client = try registeredClient(rig)
        try rig.app.answer(204, "Sidesocket-User: bob\r\n")
        rig.passes(.milliseconds(50))
        client.leaves()
        engine.answerOpen(true)
        rig.passes(.milliseconds(50))
        #expect(engine.closes == ["bob"])
        #expect(rig.users.all.isEmpty)
        #expect(rig.closes.count == 1)
    }

    @Test("A user who is named later and has too many is closed")
    func namedLater() throws {
        let rig = try rig(["MAX_CONNECTIONS_PER_USER": "3"])
        let client = try registeredClient(rig)
        try rig.app.answer(204)
        client.send("log me in")
        try rig.app.answer(204, "Sidesocket-User: bob\r\n")
        engine.answerOpen(false)
        rig.passes(.milliseconds(50))
        #expect(client.transport.log == ["close 1008 this user has too many connections open"])
        #expect(engine.closes.isEmpty)
    }

    @Test("In a dry run a user who has too many is counted and let in")
    func dryRun() throws {
        let rig = try rig(["MAX_CONNECTIONS_PER_USER": "3", "DRY_RUN": "max_connections_per_user"])
        let client = try registeredClient(rig)
        try rig.app.answer(204, "Sidesocket-User: bob\r\n")
        rig.passes(.milliseconds(50))
        engine.answerOpen(false)
        rig.passes(.milliseconds(50))
        #expect(engine.opens.map(\.1) == [.max])
        engine.answerOpen(true)
        rig.passes(.milliseconds(50))
        #expect(client.session.isRunning)
    }

    // MARK: Lost nodes

    @Test("The end of a lost node's connection is told once, and its node's entry struck when the app has answered")
    func lost() throws {
        let rig = try rig()
        let connection = try rig.connect()
        rig.passes(.milliseconds(50))
        let registered = try #require(engine.changes.first?.registered.first)
        let told = NIOLoopBoundBox(0, eventLoop: rig.loop)
        let lost = try LostConnection(
            RegisteredConnection(id: "other", connection: registered.connection, identity: registered.identity)
        )
        BridgeSession(lost: lost, context: rig.context) { _ in told.value += 1 }.tellLoss()
        #expect(rig.app.asked == "close 1006 by network")
        #expect(told.value == 0)
        try rig.app.answer(204)
        #expect(told.value == 1)
        #expect(rig.context.registry["other"] == nil)
        withExtendedLifetime(connection) {}
    }
}

@Suite("Reports of other nodes")
struct WriteReportsTests {
    @Test("Those that are waited for are collected, whether they come before or after the wait begins")
    func collects() async {
        let reports = WriteReports()
        reports.expect("r")
        reports.add(DeliveryCounts(matched: 1), of: "a", to: "r")
        async let all = reports.wait(for: "r", from: ["a", "b"], .seconds(10))
        reports.add(DeliveryCounts(matched: 2), of: "b", to: "r")
        #expect(await all == ["a": DeliveryCounts(matched: 1), "b": DeliveryCounts(matched: 2)])
        reports.forget("r")
    }

    @Test("A node that does not report is not waited for any longer than that, and unknown reports are not kept")
    func gives() async {
        let reports = WriteReports()
        reports.add(DeliveryCounts(matched: 1), of: "a", to: "unknown")
        reports.expect("r")
        #expect(await reports.wait(for: "r", from: ["a"], .milliseconds(1)) == [:])
        #expect(await reports.wait(for: "unknown", from: ["a"], .milliseconds(1)) == [:])
    }

    @Test("Without other nodes nothing is waited for")
    func alone() async {
        let reports = WriteReports()
        reports.expect("r")
        #expect(await reports.wait(for: "r", from: [], .hours(1)) == [:])
    }
}
