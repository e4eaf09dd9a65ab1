import HTTP1
import Logging
import NIOCore
import NIOEmbedded
import Testing

@testable import SidecarCore
@testable import SidecarServer

private typealias Rig = DeliveryRig<WebhookGate>

extension DeliveryRig where Gate == WebhookGate {
    fileprivate convenience init(
        addresses: Int = 1,
        capacity: Int = 10,
        _ environment: [String: String] = [:]
    ) throws {
        let gate = WebhookGate(
            addresses: (0..<addresses).map { "address \($0)" },
            capacity: capacity,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        try self.init(gate, addresses: addresses, environment)
    }

    /// Begins to deliver a message, or a handshake.
    fileprivate func deliver(_ event: SessionEvent = .sample, to owner: FakeOwner) -> WebhookDelivery {
        let delivery = make(event, for: owner)
        delivery.start(at: loop.now)
        return delivery
    }

    fileprivate func advance(_ time: TimeAmount) { loop.advanceTime(by: time) }
}

@Suite("The delivery of an event")
struct WebhookDeliveryTests {
    @Test("A 2xx ends it, and gives the permit back")
    func taken() throws {
        let (rig, owner) = (try Rig(), FakeOwner())
        let delivery = rig.deliver(to: owner)
        #expect(rig.gate.inUse == 1)
        try rig.app.answer(200, "Content-Type: text/plain\r\n", body: "hello")
        #expect(owner.ending == "taken")
        #expect(rig.gate.inUse == 0)
        guard case .taken(_, .success(let reply)) = owner.results.first else { return }
        #expect(reply.output == .message(.text, ByteBuffer(string: "hello")))
        #expect(delivery.failures == 0)
    }

    @Test("A reply that breaks the contract is no failure of the app's, and is told")
    func badReply() throws {
        let (rig, owner) = (try Rig(), FakeOwner())
        let delivery = rig.deliver(to: owner)
        try rig.app.answer(200, "Sidesocket-Close: 99\r\n")
        #expect(owner.ending == "taken, but bad_reply")
        withExtendedLifetime(delivery) {}
    }

    @Test("A failure that may pass is tried again after a pause, and again")
    func retried() throws {
        let (rig, owner) = (try Rig(["WEBHOOK_RETRY_FOR": "5m"]), FakeOwner())
        let delivery = rig.deliver(to: owner)
        for failure in [DeliveryFailure.timeout, .connectionLost, .connect("refused")] {
            try rig.app.fail(failure)
            #expect(rig.app.calls.isEmpty && owner.results.isEmpty)
            #expect(rig.gate.inUse == 0, "nothing is held in the pause")
            rig.advance(.seconds(6))
            #expect(rig.app.calls.count == 1)
        }
        try rig.app.answer(503, "Retry-After: 20\r\n")
        rig.advance(.seconds(19))
        #expect(rig.app.calls.isEmpty, "the app asked for twenty seconds")
        rig.advance(.seconds(2))
        try rig.app.answer(204)
        #expect(owner.ending == "taken")
        #expect(delivery.failures == 4)
    }

    @Test("Retries end with WEBHOOK_RETRY_FOR")
    func retriesEnd() throws {
        let (rig, owner) = (try Rig(["WEBHOOK_RETRY_FOR": "10s", "WEBHOOK_TIMEOUT": "5s"]), FakeOwner())
        let delivery = rig.deliver(to: owner)
        var attempts = 0
        while owner.results.isEmpty, attempts < 1_000 {
            if rig.app.calls.isEmpty { rig.advance(.milliseconds(50)) } else { try rig.app.answer(502); attempts += 1 }
        }
        // In the end the breaker may be open.
        #expect(["failed 5xx", "failed connect_error"].contains(owner.ending))
        #expect(attempts > 2 && rig.loop.now <= .uptimeNanoseconds(11_000_000_000))
        withExtendedLifetime(delivery) {}
    }

    @Test("Other answers are final", arguments: [301, 400, 404, 500])
    func final(status: Int) throws {
        let (rig, owner) = (try Rig(), FakeOwner())
        let delivery = rig.deliver(to: owner)
        try rig.app.answer(status)
        rig.advance(.seconds(60))
        #expect(owner.ending == "failed \(status / 100)xx")
        #expect(rig.app.calls.isEmpty)
        withExtendedLifetime(delivery) {}
    }

    @Test("A kept-alive connection that had been closed is no failure: the event goes out on a new one, once")
    func stale() throws {
        let (rig, owner) = (try Rig(), FakeOwner())
        let delivery = rig.deliver(to: owner)
        try rig.app.fail(.connectionLost, wasStale: true)
        #expect(rig.app.calls.map(\.fresh) == [true])
        #expect(delivery.failures == 0 && rig.gate.inUse == 1)
        try rig.app.fail(.connectionLost, wasStale: true)
        #expect(rig.app.calls.isEmpty, "the second time it waits like after any failure")
        rig.advance(.seconds(6))
        try rig.app.answer(200)
        #expect(owner.ending == "taken")
    }

    @Test("A reply larger than MAX_REPLY_BYTES is final, in one piece or in several")
    func tooLarge() throws {
        let (rig, owner) = (try Rig(["MAX_REPLY_BYTES": "1024"]), FakeOwner())
        let delivery = rig.deliver(to: owner)
        try rig.app.answer(200, body: String(repeating: "x", count: 1025))
        #expect(owner.ending == "failed bad_reply")
        let (another, exact) = (FakeOwner(), FakeOwner())
        let second = rig.deliver(to: another)
        let exchange = try #require(rig.app.calls.first?.exchange)
        let head = HTTPReplyHead.ok
        exchange.appReplied(head, ByteBuffer(repeating: 1, count: 1025))
        #expect(another.ending == "failed bad_reply")
        let third = rig.deliver(to: exact)
        try #require(rig.app.calls.last?.exchange).appReplied(head, ByteBuffer(repeating: 1, count: 1024))
        #expect(exact.ending == "taken")
        withExtendedLifetime((delivery, second, third)) {}
    }

    // MARK: Handshakes

    @Test("A handshake is not retried: its answer is relayed", arguments: [302, 401, 503])
    func handshakeRefused(status: Int) throws {
        let (rig, owner) = (try Rig(), FakeOwner())
        let delivery = rig.deliver(.open, to: owner)
        try rig.app.answer(status)
        #expect(owner.ending == "refused \(status)")
        withExtendedLifetime(delivery) {}
    }

    @Test("A handshake goes once to each address that does not refuse the connection")
    func handshakeOtherAddress() throws {
        let (rig, owner) = (try Rig(addresses: 2), FakeOwner())
        let delivery = rig.deliver(.open, to: owner)
        let first = try #require(rig.app.calls.first?.address)
        try rig.app.fail(.connect("refused"))
        let second = try #require(rig.app.calls.first?.address)
        #expect(first != second)
        try rig.app.fail(.connect("refused"))
        #expect(owner.ending == "failed connect_error")
        #expect(rig.app.calls.isEmpty)
        withExtendedLifetime(delivery) {}
    }

    // MARK: Turns

    @Test("Who waits for a permit is called when one is given back, and not if it has cancelled")
    func turns() throws {
        let rig = try Rig(capacity: 1)
        let owners = [FakeOwner(), FakeOwner(), FakeOwner()]
        let deliveries = owners.map { rig.deliver(to: $0) }
        #expect(rig.app.calls.count == 1)
        #expect(deliveries.map(\.isWaiting) == [false, true, true])
        deliveries[1].cancel()
        try rig.app.answer(200)
        rig.loop.run()
        #expect(rig.app.calls.first?.exchange === deliveries[2])
        try rig.app.answer(200)
        rig.loop.run()
        #expect(owners.map(\.ending) == ["taken", "0 endings", "taken"])
        #expect(rig.gate.inUse == 0 && rig.gate.queueDepth == 0)
    }

    @Test("A turn that comes after it was cancelled goes to the next")
    func lateTurn() throws {
        let rig = try Rig(capacity: 1)
        let owners = [FakeOwner(), FakeOwner(), FakeOwner()]
        let deliveries = owners.map { rig.deliver(to: $0) }
        try rig.app.answer(200)  // the turn is on its way to the second
        deliveries[1].cancel()
        rig.loop.run()
        rig.loop.run()
        #expect(rig.app.calls.first?.exchange === deliveries[2])
        #expect(rig.gate.inUse == 1)
    }

    @Test("Who cancels in a call or a pause hears nothing, and nothing stays taken")
    func cancelled() throws {
        let (rig, owner) = (try Rig(), FakeOwner())
        let calling = rig.deliver(to: owner)
        calling.cancel()
        try rig.app.answer(200, body: "x")
        let pausing = rig.deliver(to: owner)
        try rig.app.fail(.timeout)
        pausing.cancel()
        rig.advance(.seconds(60))
        let failing = rig.deliver(to: owner)
        failing.cancel()
        try rig.app.fail(.timeout)
        rig.advance(.seconds(60))
        #expect(owner.results.isEmpty && rig.app.calls.isEmpty)
        #expect(rig.gate.inUse == 0)
    }

    @Test("While every breaker is open an event gives up when its time is over")
    func hopeless() throws {
        let rig = try Rig(["WEBHOOK_RETRY_FOR": "30s", "WEBHOOK_TIMEOUT": "5s"])
        rig.gate.noteHealth(address: 0, isDown: true, on: rig.loop)
        let owner = FakeOwner()
        let delivery = rig.deliver(to: owner)
        #expect(delivery.isWaiting)
        rig.advance(.seconds(29))
        #expect(owner.results.isEmpty)
        rig.advance(.seconds(3))
        #expect(owner.ending == "failed connect_error")
        #expect(rig.gate.queueDepth == 0)
        let client = FakeOwner()
        let handshake = rig.deliver(.open, to: client)
        #expect(client.ending == "turned away unavailable")
        withExtendedLifetime(handshake) {}
    }

    @Test("An owner may go while its event is with the app")
    func ownerGone() throws {
        final class Session: WebhookDeliveryOwner {
            var delivery: WebhookDelivery?
            func deliveryEnded(_ delivery: WebhookDelivery, _ result: WebhookResult) -> ReplyEffects {
                Issue.record("it has gone")
                return ReplyEffects()
            }
            deinit { delivery?.cancel() }
        }
        let rig = try Rig()
        do {
            let session = Session()
            let delivery = ChannelEventDelivery(
                OccupancyEvent(channel: try #require(ChannelName("a")), isOccupied: true),
                id: "1",
                metrics: WebhookMetrics(.message),
                owner: session,
                logFields: [:],
                webhooks: rig.webhooks
            )
            session.delivery = delivery
            delivery.start(at: rig.loop.now)
        }
        #expect(rig.app.calls.count == 1)
        try rig.app.answer(200)
        #expect(rig.gate.inUse == 0)
    }
}

extension HTTPReplyHead {
    /// A 200 without fields.
    fileprivate static var ok: HTTPReplyHead {
        var reader = HTTPReplyReader(limits: HTTPLimits(maxHeadBytes: 4096, maxHeaders: 20))
        reader.expectReply(to: .other)
        var bytes = ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        reader.append(&bytes)
        while let part = try? reader.next() {
            if case .head(let head) = part { return head }
        }
        preconditionFailure("the head is there")
    }
}
