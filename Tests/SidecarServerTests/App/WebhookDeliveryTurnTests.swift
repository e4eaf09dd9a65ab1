import HTTP1
import Logging
import NIOCore
import NIOEmbedded
import Testing

@testable import SidecarCore
@testable import SidecarServer

private let closeEvent = SessionEvent.close(
    CloseReport(
        code: .normal,
        reason: "",
        initiator: .client,
        messagesIn: 0,
        messagesOut: 0,
        durationMilliseconds: 0
    )
)

private typealias TurnRig = DeliveryRig<FakeGate>

extension DeliveryRig where Gate == FakeGate {
    fileprivate convenience init(
        addresses: Int = 1,
        reachable: Int? = nil,
        _ environment: [String: String] = [:]
    ) throws {
        try self.init(FakeGate(addresses: addresses), addresses: addresses, reachable: reachable, environment)
    }

    /// Begins with a delivery, lets `play` go on, and checks that nothing is left of it.
    fileprivate func deliver(
        _ event: SessionEvent = .sample,
        to owner: FakeOwner,
        sourceLocation: SourceLocation = #_sourceLocation,
        _ play: (WebhookDelivery) throws -> Void
    ) throws {
        var traces = Traces()
        do {
            let delivery = make(event, for: owner)
            traces.follow(delivery)
            delivery.start(at: loop.now)
            try play(delivery)
        }
        loop.advanceTime(by: .seconds(60))
        #expect(gate.isQuiet, sourceLocation: sourceLocation)
        #expect(app.asked == nil, sourceLocation: sourceLocation)
        #expect(traces.alive == [], sourceLocation: sourceLocation)
    }
}

@Suite("The turns of a delivery")
struct WebhookDeliveryTurnTests {
    private let owner = FakeOwner()

    @Test("Each kind of event waits on its lane")
    func lanes() throws {
        let rig = try TurnRig()
        for event in [SessionEvent.open, .sample, .revalidate, closeEvent] {
            try rig.deliver(event, to: FakeOwner()) { _ in try rig.app.answer(204) }
        }
        #expect(rig.gate.asked == [.handshakes, .events, .events, .closes])
    }

    @Test(
        "What has come of a call says something about the address, or nothing",
        arguments: [
            (204, CircuitBreaker.Outcome.success), (404, .success), (429, .neutral), (500, .failure),
        ]
    )
    func outcomes(status: Int, outcome: CircuitBreaker.Outcome) throws {
        let rig = try TurnRig(["WEBHOOK_RETRY_FOR": "off"])
        try rig.deliver(to: owner) { _ in try rig.app.answer(status) }
        #expect(rig.gate.outcomes == [outcome])
    }

    // MARK: Cancelled

    @Test("Cancelled before its start, it does not call the app")
    func cancelledBeforeStart() throws {
        let rig = try TurnRig()
        let delivery = rig.make(for: owner)
        delivery.cancel()
        delivery.start(at: rig.loop.now)
        #expect(rig.gate.asked == [] && rig.app.heard == [])
        #expect(owner.results.isEmpty)
    }

    @Test("Cancelled while it waits, it gives up its place")
    func cancelledInTheQueue() throws {
        let rig = try TurnRig()
        rig.gate.mode = .queues
        try rig.deliver(to: owner) { delivery in
            #expect(delivery.isWaiting)
            delivery.cancel()
            #expect(!delivery.isWaiting && rig.gate.givenUp == 1)
        }
        #expect(rig.app.heard == [] && owner.results.isEmpty)
    }

    @Test("A turn that comes after that goes back unused")
    func cancelledBeforeItKnows() throws {
        let rig = try TurnRig()
        rig.gate.mode = .queues
        try rig.deliver(to: owner) { delivery in
            rig.gate.call()
            delivery.cancel()
            #expect(rig.gate.inUse == 1)
            rig.gate.tell()
        }
        #expect(rig.gate.outcomes == [.neutral] && rig.gate.givenUp == 0)
        #expect(rig.app.heard == [] && owner.results.isEmpty)
    }

    @Test("Cancelled in a call, it holds its permit until that has ended")
    func cancelledInACall() throws {
        let rig = try TurnRig()
        try rig.deliver(to: owner) { delivery in
            delivery.cancel()
            #expect(rig.gate.inUse == 1)
            try rig.app.answer(204)
        }
        try rig.deliver(to: owner) { delivery in
            delivery.cancel()
            try rig.app.fail(.timeout)
        }
        #expect(rig.gate.outcomes == [.success, .failure])
        #expect(rig.app.heard.count == 2 && owner.results.isEmpty)
    }

    @Test("Cancelled in a pause, it holds nothing and asks for nothing")
    func cancelledInAPause() throws {
        let rig = try TurnRig(["WEBHOOK_RETRY_FOR": "1m"])
        try rig.deliver(to: owner) { delivery in
            try rig.app.fail(.timeout)
            #expect(rig.gate.isQuiet)
            delivery.cancel()
        }
        #expect(rig.gate.asked.count == 1 && owner.results.isEmpty)
    }

    @Test("Cancelled while it waits for another turn, it gives that up too")
    func cancelledBeforeARetry() throws {
        let rig = try TurnRig(["WEBHOOK_RETRY_FOR": "1m"])
        try rig.deliver(to: owner) { delivery in
            try rig.app.fail(.connectionLost)
            rig.gate.mode = .queues
            rig.loop.advanceTime(by: .seconds(1))
            #expect(delivery.isWaiting && rig.gate.queueDepth == 1)
            delivery.cancel()
        }
        #expect(rig.gate.givenUp == 1 && rig.app.heard.count == 1 && owner.results.isEmpty)
    }

    // MARK: Turned away

    @Test(
        "Without a turn it ends, and has taken none",
        arguments: [
            (FakeGate.Mode.isFull, "turned away queueFull"), (.isUnavailable, "turned away unavailable"),
        ]
    )
    func turnedAway(mode: FakeGate.Mode, ending: String) throws {
        let rig = try TurnRig()
        rig.gate.mode = mode
        try rig.deliver(.open, to: owner) { _ in }
        #expect(owner.ending == ending && rig.app.heard == [])
    }

    @Test("A handshake that one address refused may be turned away at the next")
    func turnedAwayAtTheSecond() throws {
        let rig = try TurnRig(addresses: 2)
        try rig.deliver(.open, to: owner) { _ in
            rig.gate.mode = .isUnavailable
            try rig.app.fail(.connect("refused"))
        }
        #expect(owner.ending == "turned away unavailable")
        #expect(rig.gate.unwanted == [0] && rig.gate.outcomes == [.failure])
    }

    @Test("An address that there is not is a failure like any other, and its permit goes back")
    func noSuchAddress() throws {
        let rig = try TurnRig(addresses: 2, reachable: 1)
        try rig.deliver(.open, to: owner) { _ in try rig.app.fail(.connect("refused")) }
        #expect(owner.ending == "failed connect_error")
        #expect(rig.gate.outcomes == [.failure, .failure])
    }

    // MARK: Waiting too long

    @Test("While there is hope it waits, however long that takes")
    func hope() throws {
        let rig = try TurnRig(["WEBHOOK_RETRY_FOR": "10s", "WEBHOOK_TIMEOUT": "10s"])
        rig.gate.mode = .queues
        try rig.deliver(to: owner) { delivery in
            rig.loop.advanceTime(by: .seconds(60))
            #expect(delivery.isWaiting && owner.results.isEmpty)
            rig.gate.grant()
            try rig.app.answer(204)
        }
        #expect(owner.ending == "taken")
    }

    @Test("Without hope it gives up when its time is over", arguments: [false, true])
    func noHope(isTurnOnItsWay: Bool) throws {
        let rig = try TurnRig(["WEBHOOK_RETRY_FOR": "10s", "WEBHOOK_TIMEOUT": "10s"])
        rig.gate.mode = .queues
        rig.gate.isWithoutHope = true
        try rig.deliver(to: owner) { delivery in
            rig.loop.advanceTime(by: .milliseconds(9900))
            #expect(delivery.isWaiting)
            if isTurnOnItsWay { rig.gate.call() }
            rig.loop.advanceTime(by: .milliseconds(200))
            #expect(owner.ending == "failed connect_error")
            rig.gate.tell()
        }
        #expect(rig.app.heard == [])
        #expect(rig.gate.givenUp == (isTurnOnItsWay ? 0 : 1))
        #expect(rig.gate.outcomes == (isTurnOnItsWay ? [.neutral] : []))
    }

    @Test("A handshake waits as long as its client, which is not the delivery's matter")
    func handshakeWaits() throws {
        let rig = try TurnRig()
        rig.gate.mode = .queues
        rig.gate.isWithoutHope = true
        try rig.deliver(.open, to: owner) { delivery in
            rig.loop.advanceTime(by: .seconds(60))
            #expect(delivery.isWaiting && owner.results.isEmpty)
            delivery.cancel()
        }
    }
}
