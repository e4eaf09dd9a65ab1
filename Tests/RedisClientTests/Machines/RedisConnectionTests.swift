import NIOCore
import NIOEmbedded
import TestSupport
import Testing

@testable import RedisClient

@Suite("A connection on an embedded channel")
struct RedisConnectionTests {
    /// A connection whose other end is the test.
    private final class Bench: ConnectionLifecycle, ConnectionTraffic {
        let loop = EmbeddedEventLoop()
        let channel: EmbeddedChannel
        let connection: RedisConnection
        var lines: [String] = []
        var onAnswer: (() -> Void)?

        init(_ change: (inout RedisConfiguration) -> Void = { _ in }) throws {
            var configuration = RedisConfiguration(topology: .standalone(RedisAddress(host: "h", port: 1)))
            change(&configuration)
            connection = RedisConnection(
                address: RedisAddress(host: "h", port: 1),
                purpose: .master(inCluster: false),
                configuration: configuration,
                eventLoop: loop
            )
            channel = EmbeddedChannel(loop: loop)
            try channel.pipeline.syncOperations.addHandler(connection)
            connection.start(lifecycle: self, traffic: self)
            channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
        }

        /// Answers the greeting.
        func greet() throws {
            #expect(try sent().contains("HELLO"))
            try receive("%2\r\n+version\r\n+7.0.0\r\n+mode\r\n+standalone\r\n")
            #expect(try sent().contains("INFO"))
            try receive(info("id1"))
            #expect(lines == ["ready"])
            lines = []
        }

        func info(_ id: String, role: String = "master") -> String {
            let text = "role:\(role)\r\nmaster_replid:\(id)\r\n"
            return "$\(text.utf8.count)\r\n\(text)\r\n"
        }

        func receive(_ text: String) throws { try channel.writeInbound(ByteBuffer(string: text)) }

        /// What was sent since the last call, with spaces for line ends.
        func sent() throws -> String {
            loop.run()
            var text = ""
            while let bytes = try channel.readOutbound(as: ByteBuffer.self) { text += String(buffer: bytes) }
            return text.split(separator: "\r\n").joined(separator: " ")
        }

        func send(_ name: String, timeout: Int64 = 1_000, _ script: RedisScript? = nil) -> RedisConnection.Acceptance {
            let command =
                script.map { RedisCommand.run($0, keys: [], arguments: [.text(name)]) }
                ?? RedisCommand(name, slotKey: nil)
            let request = RedisRequest(command, deadline: loop.now + .milliseconds(timeout)) { result in
                switch result {
                case .success(let value): self.lines.append("\(name)=\(value.text ?? "?")")
                case .failure(let failure): self.lines.append("\(name) \(failure)")
                }
            }
            return connection.send(request)
        }

        func connectionReady(_ connection: RedisConnection, server: RedisServerInfo) { lines.append("ready") }
        func connectionEnded(_ connection: RedisConnection, _ fault: ConnectionFault) {
            lines.append("ended \(fault.sentence)")
        }
        func connection(_ connection: RedisConnection, answered request: RedisRequest, _ value: RESPValue) {
            if case .error(let reply) = value {
                request.fail(.refused(reply))
            } else {
                request.completion(.success(value))
            }
            onAnswer?()
        }
        func connection(_ connection: RedisConnection, failed request: RedisRequest, _ failure: RedisFailure) {
            request.fail(failure)
        }
        func connection(_ connection: RedisConnection, received payload: ByteBuffer, on channel: RedisChannel) {
            lines.append("\(channel.name):\(String(buffer: payload))")
        }
        func connection(_ connection: RedisConnection, confirmed channel: RedisChannel, _ kind: SubscriptionKind) {
            lines.append("\(kind.command) \(channel.name)")
        }
        func connection(_ connection: RedisConnection, completed kind: SubscriptionKind) {
            lines.append("\(kind.command).")
        }
        func connection(
            _ connection: RedisConnection,
            refused channels: [RedisChannel],
            _ kind: SubscriptionKind,
            _ reply: RedisErrorReply
        ) { lines.append("refused \(channels.map(\.name)) \(reply.code)") }
        func connection(_ connection: RedisConnection, revoked channel: RedisChannel) {
            lines.append("revoked \(channel.name)")
        }
        func connection(_ connection: RedisConnection, changedIdentity id: String) { lines.append("identity \(id)") }
        func connection(_ connection: RedisConnection, probedIn time: TimeAmount) { lines.append("probed") }
        func connectionReadComplete(_ connection: RedisConnection) {}
    }

    @Test("Commands of one turn go out in one write, and replies go to them in order")
    func pipeline() throws {
        let bench = try Bench()
        try bench.greet()
        for name in ["A", "B", "C"] { #expect(bench.send(name) == .accepted) }
        bench.loop.run()
        let bytes = try #require(try bench.channel.readOutbound(as: ByteBuffer.self))
        #expect(String(buffer: bytes) == "*1\r\n$1\r\nA\r\n*1\r\n$1\r\nB\r\n*1\r\n$1\r\nC\r\n")
        #expect(try bench.channel.readOutbound(as: ByteBuffer.self) == nil)
        try bench.receive("+1\r\n-ERR x\r\n")
        try bench.receive("+3\r\n")
        #expect(bench.lines == ["A=1", "B \(RedisFailure.refused(RedisErrorReply("ERR x")))", "C=3"])
    }

    @Test("A late reply is dropped, and the next one goes to its own command")
    func lateReply() throws {
        let bench = try Bench()
        try bench.greet()
        _ = bench.send("A", timeout: 500)
        _ = bench.send("B", timeout: 100)
        _ = bench.send("C", timeout: 900)
        bench.loop.advanceTime(by: .milliseconds(100))
        #expect(bench.lines == ["B \(RedisFailure.unknown(.timeout))"])
        bench.loop.advanceTime(by: .milliseconds(400))
        #expect(bench.lines.last == "A \(RedisFailure.unknown(.timeout))")
        try bench.receive("+1\r\n+2\r\n+3\r\n")
        #expect(bench.lines.dropFirst(2) == ["C=3"])
    }

    @Test("What was not written when the connection is lost was certainly not carried out")
    func lost() throws {
        let bench = try Bench()
        try bench.greet()
        _ = bench.send("A")
        _ = try bench.sent()
        _ = bench.send("B")
        bench.channel.pipeline.fireErrorCaught(ChannelError.ioOnClosedChannel)
        #expect(bench.lines.count == 3)
        #expect(bench.lines[0].hasPrefix("ended"))
        #expect(bench.lines[1].hasPrefix("A unknown"))
        #expect(bench.lines[2].hasPrefix("B notSent"))
        #expect(bench.send("C") == .closed)
    }

    @Test("A connection is full at its bound, timed-out commands included")
    func full() throws {
        let size = RedisCommand("A", slotKey: nil).maxEncodedBytes
        let bench = try Bench { $0.maxPendingBytes = 2 * size }
        try bench.greet()
        #expect(bench.send("A", timeout: 10) == .accepted)
        #expect(bench.send("A", timeout: 10) == .accepted)
        #expect(bench.send("A", timeout: 10) == .full)
        bench.loop.advanceTime(by: .milliseconds(20))
        #expect(bench.send("A") == .full)
        try bench.receive("+1\r\n")
        #expect(bench.send("A") == .accepted)
    }

    @Test("A silent connection is probed and then closed, three seconds after the last byte")
    func silence() throws {
        let bench = try Bench()
        try bench.greet()
        bench.loop.advanceTime(by: .milliseconds(1_499))
        #expect(try bench.sent() == "")
        bench.loop.advanceTime(by: .milliseconds(1))
        #expect(try bench.sent().contains("INFO"))
        bench.loop.advanceTime(by: .milliseconds(1_499))
        #expect(bench.lines == [])
        bench.loop.advanceTime(by: .milliseconds(1))
        #expect(bench.lines.count == 1 && bench.lines[0].contains("silent"))
    }

    @Test("Probes notice another history, and another role")
    func probes() throws {
        let bench = try Bench()
        try bench.greet()
        bench.loop.advanceTime(by: .milliseconds(1_500))
        try bench.receive(bench.info("id2"))
        #expect(bench.lines == ["probed", "identity id2"])
        bench.loop.advanceTime(by: .milliseconds(1_500))
        _ = bench.send("A")
        _ = try bench.sent()
        try bench.receive(bench.info("id2", role: "slave"))
        #expect(bench.lines.last?.hasPrefix("ended") == true)
        #expect(bench.send("B") == .closed)
        // What was on its way is still answered.
        #expect(bench.channel.isActive)
        try bench.receive("+1\r\n")
        #expect(bench.lines.last == "A=1")
        #expect(!bench.channel.isActive)
    }

    @Test("A script goes whole the first time, by name later, and whole again when the server forgot it, in order")
    func scripts() throws {
        let bench = try Bench()
        try bench.greet()
        let script = RedisScript("return 1")
        _ = bench.send("1", script)
        #expect(try bench.sent().contains("EVAL $8 return 1"))
        for name in ["2", "3"] { _ = bench.send(name, script) }
        #expect(try bench.sent().components(of: "EVALSHA") == 2)
        try bench.receive("+one\r\n-NOSCRIPT none\r\n")
        // What comes now has to wait for the third, which will be refused, too.
        _ = bench.send("4", script)
        _ = bench.send("PLAIN")
        #expect(try bench.sent() == "")
        try bench.receive("-NOSCRIPT none\r\n")
        let again = try bench.sent()
        #expect(again.components(of: "EVAL $8 return 1") == 2 && again.components(of: "EVALSHA") == 1)
        #expect(again.hasSuffix("*1 $5 PLAIN"))
        try bench.receive("+two\r\n+three\r\n+four\r\n+plain\r\n")
        #expect(bench.lines == ["1=one", "2=two", "3=three", "4=four", "PLAIN=plain"])
    }

    @Test("Requests that are held for a script keep their deadline")
    func heldDeadline() throws {
        let bench = try Bench()
        try bench.greet()
        let script = RedisScript("return 1")
        _ = bench.send("1", script)
        _ = bench.send("2", timeout: 400, script)
        _ = bench.send("3", script)
        try bench.receive("+one\r\n-NOSCRIPT none\r\n")
        _ = bench.send("4", timeout: 300)
        bench.loop.advanceTime(by: .milliseconds(300))
        #expect(bench.lines.last == "4 \(RedisFailure.notSent(.timeout))")
        bench.loop.advanceTime(by: .milliseconds(100))
        #expect(bench.lines.last == "2 \(RedisFailure.notSent(.timeout))")
        try bench.receive("+three\r\n")
        #expect(bench.lines.last == "3=three")
    }

    @Test("Confirmations, refusals, messages and ended subscriptions are told apart")
    func subscriptions() throws {
        let bench = try Bench()
        try bench.greet()
        let channels = ["a", "b"].map { RedisChannel(name: $0) }
        let kind = SubscriptionKind(subscribes: true, isSharded: true)
        bench.connection.send(SubscriptionBatch(kind: kind, channels: channels))
        bench.connection.send(SubscriptionBatch(kind: kind, channels: channels))
        #expect(try bench.sent().components(of: "SSUBSCRIBE $1 a $1 b") == 2)
        try bench.receive(">3\r\n$10\r\nssubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$2\r\nhi\r\n")
        try bench.receive(">3\r\n$10\r\nssubscribe\r\n$1\r\nb\r\n:2\r\n-MOVED 1 h:2\r\n")
        try bench.receive(">3\r\n$12\r\nsunsubscribe\r\n$1\r\nb\r\n:0\r\n")
        #expect(
            bench.lines == [
                "SSUBSCRIBE a", "a:hi", "SSUBSCRIBE b", "SSUBSCRIBE.", "refused [\"a\", \"b\"] MOVED", "revoked b",
            ]
        )
    }

    @Test(
        "Subscriptions that the server ends while they are being ended do not shift later replies",
        arguments: [
            // Ours alone; the server's and then a refusal; the server's, ours, and a refusal of the next batch.
            ">3\r\n+sunsubscribe\r\n+a\r\n:1\r\n>3\r\n+sunsubscribe\r\n+b\r\n:0\r\n+PONG\r\n",
            ">3\r\n+sunsubscribe\r\n+a\r\n:1\r\n>3\r\n+sunsubscribe\r\n+b\r\n:0\r\n-MOVED 1 h:2\r\n+PONG\r\n",
            "-MOVED 1 h:2\r\n+PONG\r\n", ">3\r\n+sunsubscribe\r\n+b\r\n:1\r\n-MOVED 1 h:2\r\n+PONG\r\n",
            "-NOPERM User has no permissions to run the 'ping' command\r\n",
        ]
    )
    func fence(replies: String) throws {
        let bench = try Bench()
        try bench.greet()
        let channels = ["a", "b"].map { RedisChannel(name: $0) }
        let kind = SubscriptionKind(subscribes: false, isSharded: true)
        bench.connection.send(SubscriptionBatch(kind: kind, channels: channels))
        _ = bench.send("A")
        #expect(try bench.sent() == "*3 $12 SUNSUBSCRIBE $1 a $1 b *1 $4 PING *1 $1 A")
        try bench.receive(replies + "+1\r\n")
        #expect(
            bench.lines.filter { !$0.hasPrefix("revoked") } == [
                "SUNSUBSCRIBE a", "SUNSUBSCRIBE b", "SUNSUBSCRIBE.", "A=1",
            ]
        )
    }

    @Test(
        "What no server sends ends the connection with a reason",
        arguments: [
            "+OK\r\n", "HTTP/1.1 400 Bad Request\r\n", ">1\r\n+message\r\n", ">2\r\n+message\r\n+a\r\n",
            ">2\r\n+invalidate\r\n_\r\n", ">0\r\n", ">3\r\n+subscribe\r\n+a\r\n:1\r\n", "$2147483648\r\n",
            "*1000000000\r\n", "-ERR max number of clients reached\r\n",
        ]
    )
    func garbage(text: String) throws {
        let bench = try Bench()
        try bench.greet()
        try bench.receive(text)
        #expect(bench.lines.count == 1 && bench.lines[0].hasPrefix("ended"), "\(bench.lines)")
        #expect(!bench.channel.isActive)
    }

    @Test("A completion may close the connection in the midst of replies")
    func closesInCompletion() throws {
        let bench = try Bench()
        try bench.greet()
        _ = bench.send("A")
        _ = bench.send("B")
        _ = try bench.sent()
        bench.onAnswer = { bench.connection.close(.closed) }
        try bench.receive("+1\r\n+2\r\n")
        #expect(bench.lines.count == 3 && bench.lines[0] == "A=1" && bench.lines[2].hasPrefix("B unknown"))
        bench.onAnswer = nil
    }

    @Test("Whatever a server answers, each request completes once")
    func anything() throws {
        let replies = [
            "+OK\r\n", "-ERR x\r\n", "-NOSCRIPT x\r\n", "_\r\n", "*2\r\n:1\r\n:2\r\n", ">3\r\n+message\r\n+a\r\n+x\r\n",
            ">3\r\n+subscribe\r\n+a\r\n:1\r\n", ">3\r\n+subscribe\r\n+b\r\n:1\r\n",
            ">3\r\n+unsubscribe\r\n+a\r\n:1\r\n",
            "$25\r\nrole:slave\r\nmaster_repl\r\n", "-MOVED 1 a:1\r\n", "+OK\r\n", "+OK\r\n", "-NOSCRIPT x\r\n",
        ]
        var dice = SeededRandom(seed: 6)
        let script = RedisScript("return 1")
        for _ in 0..<400 {
            let bench = try Bench()
            try bench.greet()
            var sent = 0
            for _ in 0..<Int.random(in: 5..<60, using: &dice) {
                switch Int.random(in: 0..<8, using: &dice) {
                case 0..<3:
                    let isScript = Int.random(in: 0..<2, using: &dice) == 0
                    let timeout = Int64.random(in: 1...2_000, using: &dice)
                    if bench.send("R\(sent)", timeout: timeout, isScript ? script : nil) == .accepted { sent += 1 }
                case 3:
                    let kind = SubscriptionKind(subscribes: Int.random(in: 0..<4, using: &dice) > 0, isSharded: false)
                    let channels = ["a", "b"].map { RedisChannel(name: $0) }
                    bench.connection.send(SubscriptionBatch(kind: kind, channels: channels))
                case 4: bench.loop.advanceTime(by: .milliseconds(Int64.random(in: 0...300, using: &dice)))
                default:
                    _ = try bench.sent()
                    if bench.channel.isActive { try bench.receive(replies.randomElement(using: &dice) ?? "") }
                }
            }
            bench.connection.close(.closed)
            let completions = bench.lines.filter { $0.hasPrefix("R") }.map { $0.prefix { $0 != " " && $0 != "=" } }
            #expect(completions.count == sent && Set(completions).count == sent)
        }
    }

    @Test("A small payload does not keep the whole read alive")
    func payload() {
        var large = ByteBuffer(repeating: 0x61, count: 60_000)
        let part = large.readSlice(length: 100)
        #expect(part.map { $0.detached.storageCapacity < 1_000 } == true)
        #expect(part.map { $0.detached == $0 } == true)
    }
}

extension String {
    /// How often a text occurs.
    fileprivate func components(of text: String) -> Int {
        var count = 0
        var rest = self[...]
        while let range = rest.firstRange(of: text) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}
