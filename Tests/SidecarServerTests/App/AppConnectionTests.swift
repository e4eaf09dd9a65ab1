import HTTP1
import NIOCore
import NIOEmbedded
import NIOSSL
import Testing

@testable import SidecarCore
@testable import SidecarServer

/// Counts what is asked of the socket.
private final class Reads: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer

    private(set) var count = 0

    func read(context: ChannelHandlerContext) {
        count += 1
        context.read()
    }
}

@Suite("A connection to the app")
struct AppConnectionTests {
    private static let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

    // MARK: The pool

    @Test("One request after the other uses the same connection")
    func reuse() throws {
        let rig = try AppRig()
        let app = try rig.idle()
        for _ in 0..<3 {
            let exchange = FakeExchange(rig)
            rig.pool.run(exchange)
            #expect(rig.pool.inUse == 1)
            #expect(try rig.received(app) == "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            try rig.reply(app, Self.ok)
            #expect(exchange.reply == "head 200 end hi")
            #expect(rig.pool.inUse == 0)
        }
        #expect(app.isActive)
    }

    @Test("While it is in use, or when it must not be used, another one is needed")
    func notReused() throws {
        let rig = try AppRig()
        let app = try rig.idle()
        let first = FakeExchange(rig)
        rig.pool.run(first)
        let second = FakeExchange(rig)
        rig.pool.run(second)
        #expect(second.notes == ["failed connect_error"] && rig.pool.inUse == 1)
        try rig.reply(app, Self.ok)
        let third = FakeExchange(rig)
        rig.pool.run(third, fresh: true)
        #expect(third.notes == ["failed connect_error"] && first.reply == "head 200 end hi")
        #expect(app.isActive && rig.pool.inUse == 0)
    }

    @Test("The connection that was used last is used next")
    func newestFirst() throws {
        let rig = try AppRig()
        let (old, new) = (try rig.idle(), try rig.idle())
        rig.pool.run(FakeExchange(rig))
        #expect(try rig.received(old).isEmpty)
        #expect(try rig.received(new).hasPrefix("GET "))
    }

    @Test(
        "A connection that the reply ends, or that more bytes follow, is not used again",
        arguments: [
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!",
        ]
    )
    func usedUp(reply: String) throws {
        let rig = try AppRig()
        let app = try rig.idle()
        let exchange = FakeExchange(rig)
        rig.pool.run(exchange)
        try rig.reply(app, reply)
        #expect(exchange.reply == "head 200 end hi")
        #expect(!app.isActive && rig.pool.inUse == 0)
    }

    @Test("Unused, it closes after a while")
    func idleTime() throws {
        let rig = try AppRig()
        let app = try rig.idle()
        rig.loop.advanceTime(by: .milliseconds(3900))
        #expect(app.isActive)
        rig.loop.advanceTime(by: .milliseconds(200))
        #expect(!app.isActive)
        let exchange = FakeExchange(rig)
        rig.pool.run(exchange)
        #expect(exchange.notes == ["failed connect_error"])
    }

    @Test("Used for long enough, it is replaced")
    func age() throws {
        let rig = try AppRig()
        let app = try rig.idle()
        rig.loop.advanceTime(by: .seconds(3))
        for _ in 0..<19 {
            let exchange = FakeExchange(rig)
            rig.pool.run(exchange)
            try rig.reply(app, Self.ok)
            #expect(exchange.reply == "head 200 end hi" && app.isActive)
            rig.loop.advanceTime(by: .seconds(3))
        }
        rig.pool.run(FakeExchange(rig))
        rig.loop.advanceTime(by: .seconds(3))
        try rig.reply(app, Self.ok)
        #expect(!app.isActive)
    }

    @Test("When the pool closes, idle connections do too, and the others with their reply")
    func poolCloses() throws {
        let rig = try AppRig()
        let (unused, used) = (try rig.idle(), try rig.idle())
        let exchange = FakeExchange(rig)
        rig.pool.run(exchange)
        rig.pool.close()
        #expect(!unused.isActive && used.isActive)
        try rig.reply(used, Self.ok)
        #expect(exchange.reply == "head 200 end hi" && !used.isActive)
    }

    // MARK: Stale connections

    @Test("A kept-alive connection that ends before a byte of the reply was stale; a new one was not")
    func stale() throws {
        let rig = try AppRig()
        let app = try rig.idle()
        rig.pool.run(FakeExchange(rig))
        try rig.reply(app, Self.ok)
        let second = FakeExchange(rig)
        rig.pool.run(second)
        rig.loop.run()
        app.close(promise: nil)
        #expect(second.notes == ["failed connect_error, stale"])
        let (new, connection) = try rig.connect()
        let third = FakeExchange(rig)
        connection.begin(third)
        rig.loop.run()
        new.close(promise: nil)
        #expect(third.notes == ["failed connect_error"])
    }

    @Test(
        "With a part of the reply it was not stale",
        arguments: ["H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 103 X\r\n\r\n"]
    )
    func notStale(part: String) throws {
        let rig = try AppRig()
        let app = try rig.idle()
        rig.pool.run(FakeExchange(rig))
        try rig.reply(app, Self.ok)
        let second = FakeExchange(rig)
        rig.pool.run(second)
        try rig.reply(app, part)
        app.close(promise: nil)
        #expect(second.notes.last == "failed connect_error")
    }

    @Test("Bytes that nobody has asked for end it; a request that has not gone out may be repeated")
    func unsolicited() throws {
        let rig = try AppRig()
        let quiet = try rig.idle()
        try rig.reply(quiet, Self.ok)
        #expect(!quiet.isActive)
        let app = try rig.idle()
        let exchange = FakeExchange(rig)
        rig.pool.run(exchange)
        // Before the end of the turn, when the request goes out.
        try app.writeInbound(ByteBuffer(string: Self.ok))
        #expect(exchange.notes == ["failed connect_error, stale"])
        #expect(try rig.received(app).isEmpty)
        #expect(!app.isActive && rig.pool.inUse == 0)
    }

    @Test("A delivery goes out again on another connection, once, and that is no failure")
    func repeatedOnce() throws {
        /// Hands exchanges to connections that the test has made.
        final class Connections: AppCaller {
            var next: [AppConnection] = []
            func call(_ address: Int, for exchange: any AppExchange, fresh: Bool) -> Bool {
                guard !next.isEmpty else { return false }
                next.removeFirst().begin(exchange)
                return true
            }
        }
        let rig = try AppRig()
        let connections = Connections()
        let webhooks = WebhookContext(
            eventLoop: rig.loop,
            timers: rig.timers,
            gate: rig.gate,
            app: connections,
            logger: rig.webhooks.logger,
            configuration: rig.webhooks.configuration
        )
        let owner = FakeOwner()
        let (old, used) = try rig.connect()
        let first = FakeExchange(rig)
        used.begin(first)
        try rig.reply(old, Self.ok)
        let (new, fresh) = try rig.connect()
        connections.next = [used, fresh]
        let delivery = ChannelEventDelivery(
            OccupancyEvent(channel: try #require(ChannelName("room")), isOccupied: true),
            id: "1",
            metrics: WebhookMetrics(.message),
            owner: owner,
            logFields: [:],
            webhooks: webhooks
        )
        delivery.start(at: rig.loop.now)
        _ = try rig.received(old)
        old.close(promise: nil)
        #expect(owner.results.isEmpty && delivery.failures == 0 && rig.gate.inUse == 1)
        #expect(try rig.received(new).contains("ce-type: sidesocket.channel.occupied"))
        try rig.reply(new, "HTTP/1.1 204 No Content\r\n\r\n")
        #expect(owner.ending == "taken" && rig.gate.outcomes == [.success])
    }

    // MARK: Replies

    private static let replies = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ]

    @Test("A reply is the same wherever it was cut", arguments: replies, [false, true])
    func cut(reply: String, whole: Bool) throws {
        let rig = try AppRig()
        let app = try rig.idle()
        let bytes = Array(reply.utf8)
        let expected = (reply.contains("103") && !whole ? "interim 103 " : "") + "head 200 end hello"
        for place in 0...bytes.count {
            let exchange = FakeExchange(rig, takesWholeReplies: whole)
            rig.pool.run(exchange)
            rig.loop.run()
            for part in [bytes[..<place], bytes[place...]] where !part.isEmpty {
                try app.writeInbound(ByteBuffer(bytes: part))
            }
            let got = whole ? exchange.reply.replacing("interim 103 ", with: "") : exchange.reply
            #expect(got == expected, "cut at \(place)")
        }
        let slow = FakeExchange(rig, takesWholeReplies: whole)
        rig.pool.run(slow)
        rig.loop.run()
        for byte in bytes { try app.writeInbound(ByteBuffer(bytes: [byte])) }
        let got = whole ? slow.reply.replacing("interim 103 ", with: "") : slow.reply
        #expect(got == expected)
        #expect(app.isActive && rig.pool.inUse == 0)
    }

    @Test("A body without a length ends with the connection, unless that was cut")
    func endOfInput() throws {
        let rig = try AppRig()
        let reply = "HTTP/1.1 200 OK\r\n\r\nhi"
        let app = try rig.idle()
        let clean = FakeExchange(rig)
        rig.pool.run(clean)
        try rig.reply(app, reply)
        app.close(promise: nil)
        #expect(clean.reply == "head 200 end hi")
        let other = try rig.idle()
        let unclean = FakeExchange(rig)
        rig.pool.run(unclean)
        try rig.reply(other, reply)
        other.pipeline.fireErrorCaught(NIOSSLError.uncleanShutdown)
        #expect(unclean.reply == "head 200 failed connect_error hi")
        #expect(!other.isActive && rig.pool.inUse == 0)
    }

    @Test(
        "A reply that is cut short fails",
        arguments: [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
            "HTTP/1.1 200 OK\r\nContent-Le",
        ]
    )
    func cutShort(reply: String) throws {
        let rig = try AppRig()
        let app = try rig.idle()
        let exchange = FakeExchange(rig)
        rig.pool.run(exchange)
        try rig.reply(app, reply)
        app.close(promise: nil)
        #expect(exchange.notes.last == "failed connect_error")
        #expect(rig.pool.inUse == 0)
    }

    @Test("What is no reply, or has too large a head, fails and ends the connection")
    func malformed() throws {
        let rig = try AppRig(limits: HTTPLimits(maxHeadBytes: 128, maxHeaders: 4))
        for reply in ["hello\r\n\r\n", "HTTP/1.1 200 OK\r\nX: \(String(repeating: "x", count: 128))\r\n\r\n"] {
            let app = try rig.idle()
            let exchange = FakeExchange(rig)
            rig.pool.run(exchange)
            try rig.reply(app, reply)
            #expect(exchange.notes == ["failed bad_reply"])
            #expect(!app.isActive && rig.pool.inUse == 0)
        }
    }

    @Test("An exchange that has enough hears nothing more, and the connection ends")
    func aborted() throws {
        let rig = try AppRig()
        let app = try rig.idle()
        let exchange = FakeExchange(rig)
        exchange.onPart = { if !$0.body.isEmpty { $0.connection?.abort() } }
        rig.pool.run(exchange)
        try rig.reply(app, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        #expect(exchange.reply == "head 200 hi")
        #expect(!app.isActive && rig.pool.inUse == 0)
    }

    @Test("Without a reply in time it fails, and the connection ends")
    func deadline() throws {
        let rig = try AppRig()
        let app = try rig.idle()
        let exchange = FakeExchange(rig)
        rig.pool.run(exchange)
        rig.loop.advanceTime(by: .milliseconds(9900))
        #expect(exchange.notes == [])
        rig.loop.advanceTime(by: .milliseconds(200))
        #expect(exchange.notes == ["failed timeout"])
        #expect(!app.isActive && rig.pool.inUse == 0)
    }

    // MARK: Back-pressure

    @Test("While reading is paused nothing is asked of the socket, and then once")
    func pausedReading() throws {
        let rig = try AppRig()
        let reads = Reads()
        let (app, connection) = try rig.connect([reads])
        let exchange = FakeExchange(rig)
        connection.begin(exchange)
        rig.loop.run()
        let before = reads.count
        connection.pauseReading()
        try rig.reply(app, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhi")
        #expect(reads.count == before)
        connection.resumeReading()
        connection.resumeReading()
        #expect(reads.count == before + 1)
    }

    @Test("An exchange hears whether more may be written")
    func writability() throws {
        let rig = try AppRig()
        let (app, connection) = try rig.connect()
        let exchange = FakeExchange(rig)
        connection.begin(exchange)
        for isWritable in [false, true] {
            app.isWritable = isWritable
            app.pipeline.fireChannelWritabilityChanged()
        }
        #expect(exchange.notes == ["full", "writable"])
    }

    @Test("An exchange and a connection that have ended are kept by nobody")
    func letGo() throws {
        let rig = try AppRig()
        var traces = Traces()
        do {
            let (app, connection) = try rig.connect()
            traces.follow(connection)
            let (done, failed) = (FakeExchange(rig), FakeExchange(rig))
            traces.follow(done)
            traces.follow(failed)
            connection.begin(done)
            try rig.reply(app, Self.ok)
            rig.pool.run(failed)
            rig.loop.run()
            app.close(promise: nil)
            #expect(done.reply == "head 200 end hi" && failed.notes == ["failed connect_error, stale"])
        }
        rig.passes(.seconds(30))
        #expect(traces.alive == [])
    }
}

@Suite("The health check of an address")
struct HealthCheckTests {
    private func check(_ rig: AppRig) -> HealthCheck {
        HealthCheck(address: 0, path: "/healthz", pool: rig.pool, webhooks: rig.webhooks)
    }

    @Test(
        "Any answer with a 2xx or 3xx is well, with whatever body",
        arguments: [
            (200, true), (204, true), (302, true), (404, false), (500, false),
        ]
    )
    func answers(status: Int, isWell: Bool) throws {
        let rig = try AppRig()
        let check = check(rig)
        for _ in 0..<2 {
            let (app, connection) = try rig.connect()
            connection.begin(check)
            let request = try rig.received(app)
            #expect(request.hasPrefix("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:9\r\n"))
            try rig.reply(app, "HTTP/1.1 \(status) X\r\n\(status == 204 ? "" : "Content-Length: 9\r\n")\r\n")
            if status != 204 {
                try app.writeInbound(ByteBuffer(string: "a"))
                #expect(!app.isActive, "the rest is not read")
            }
        }
        #expect(rig.gate.health == (isWell ? [true, true] : [false]))
    }

    @Test("An app that does not answer in time, or cuts its answer, is not well")
    func silent() throws {
        let rig = try AppRig(["WEBHOOK_TIMEOUT": "1s"])
        let check = check(rig)
        let (silent, first) = try rig.connect()
        first.begin(check)
        rig.passes(.milliseconds(1100))
        #expect(!silent.isActive)
        let (app, second) = try rig.connect()
        second.begin(check)
        try rig.reply(app, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        app.close(promise: nil)
        #expect(rig.gate.health == [false])
    }

    @Test("It goes on when no connection can be made, also for want of descriptors")
    func goesOn() throws {
        let rig = try AppRig(["APP_HEALTH_INTERVAL": "1s"])
        let check = check(rig)
        check.start()
        #expect(rig.gate.health == [], "once is no proof")
        rig.passes(.milliseconds(1100))
        #expect(rig.gate.health.first == false)
        let before = rig.gate.health.count
        rig.passes(.milliseconds(1100))
        #expect(rig.gate.health.count > before)
        withExtendedLifetime(check) {}
    }
}
