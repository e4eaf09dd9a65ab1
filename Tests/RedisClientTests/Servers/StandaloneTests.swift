import NIOCore
import Testing

@testable import RedisClient

extension RealServers {
    @Suite("One server")
    struct StandaloneTests {
        private func configuration(_ server: RedisServer) -> RedisConfiguration {
            var configuration = RedisConfiguration(topology: .standalone(server.address))
            configuration.backoff = .milliseconds(20) ... .milliseconds(200)
            return configuration
        }

        @Test("Commands are answered in order, ten thousand at once")
        func pipeline() async throws {
            let server = try RedisServer()
            try await withServers(server) {
                var configuration = configuration(server)
                configuration.commandTimeout = .seconds(10)
                try await ClientRig.run(configuration) { rig in
                    #expect(try await rig.call("SET", ["key", "value"], key: "key").text == "OK")
                    #expect(try await rig.call("GET", ["key"], key: "key").text == "value")
                    #expect(try await rig.call("GET", ["none"], key: "none").isNull)
                    let promise = rig.loop.makePromise(of: [Int64].self)
                    try await rig.on { client in
                        var replies: [Int64] = []
                        for _ in 0..<10_000 {
                            client.send(RedisCommand("INCR", ["n"], slotKey: "n")) { result in
                                replies.append((try? result.get().integer) ?? -1)
                                if replies.count == 10_000 { promise.succeed(replies) }
                            }
                        }
                    }
                    #expect(try await promise.futureResult.get() == Array(1...10_000))
                    let list = try await rig.call("CLIENT", ["LIST"]).text
                    #expect(list?.split(separator: "\n").count { $0.contains("name=sidesocket") } == 2)
                }
            }
        }

        @Test("A slow command is unknown after its time, and the replies behind it go to their own commands")
        func slow() async throws {
            let server = try RedisServer()
            try await withServers(server) {
                try await ClientRig.run(configuration(server)) { rig in
                    let promise = rig.loop.makePromise(of: [String].self)
                    try await rig.on { client in
                        var results: [String] = []
                        func add(_ name: String, _ result: Result<RESPValue, RedisFailure>) {
                            switch result {
                            case .success(let value): results.append("\(name)=\(value.text ?? "")")
                            case .failure(let failure): results.append("\(name) \(failure)")
                            }
                            if results.count == 3 { promise.succeed(results) }
                        }
                        var slow = RedisCommand("DEBUG", ["SLEEP", "0.5"], slotKey: nil)
                        slow.timeout = .milliseconds(100)
                        client.send(slow) { add("slow", $0) }
                        var impatient = RedisCommand("ECHO", ["b"], slotKey: nil)
                        impatient.timeout = .milliseconds(200)
                        client.send(impatient) { add("b", $0) }
                        client.send(RedisCommand("ECHO", ["c"], slotKey: nil)) { add("c", $0) }
                    }
                    let timeout = RedisFailure.unknown(.timeout)
                    #expect(try await promise.futureResult.get() == ["slow \(timeout)", "b \(timeout)", "c=c"])
                    #expect(try await rig.call("ECHO", ["d"]).text == "d")
                }
            }
        }

        @Test("A stopped server is noticed within four seconds, and used again when it goes on")
        func frozen() async throws {
            let server = try RedisServer()
            try await withServers(server) {
                try await ClientRig.run(configuration(server)) { rig in
                    server.freeze()
                    let start = NIODeadline.now()
                    let result = try await rig.send(RedisCommand("GET", ["k"], slotKey: "k"))
                    #expect(result == .failure(.unknown(.timeout)))
                    #expect(NIODeadline.now() - start < .milliseconds(2_500))
                    try await rig.until("it is given up") { $0.client?.isUp == false }
                    #expect(NIODeadline.now() - start < .seconds(5))
                    server.thaw()
                    try await rig.until("it is up again") { $0.client?.isUp == true && $0.hasSubscribers }
                    #expect(try await rig.call("ECHO", ["x"]).text == "x")
                    // The same process: nothing of its data has gone back.
                    let identityChanged = try await rig.current { $0.events.contains(.identityChanged(.only)) }
                    #expect(identityChanged == false)
                    #expect(rig.log.notable.count == 2, "\(rig.log.notable)")
                }
            }
        }

        @Test("A script survives SCRIPT FLUSH, in order")
        func scripts() async throws {
            let server = try RedisServer()
            try await withServers(server) {
                try await ClientRig.run(configuration(server)) { rig in
                    let script = RedisScript("redis.call('RPUSH', KEYS[1], ARGV[1]) return redis.call('LLEN', KEYS[1])")
                    let promise = rig.loop.makePromise(of: [Int64].self)
                    try await rig.on { client in
                        var replies: [Int64] = []
                        for number in 0..<300 {
                            if number % 100 == 50 {
                                client.send(RedisCommand("SCRIPT", ["FLUSH"], slotKey: nil)) { _ in }
                            }
                            let command = RedisCommand.run(script, keys: ["l"], arguments: [.number(Int64(number))])
                            client.send(command) { result in
                                replies.append((try? result.get().integer) ?? -1)
                                if replies.count == 300 { promise.succeed(replies) }
                            }
                        }
                    }
                    #expect(try await promise.futureResult.get() == Array(1...300))
                    let list = try await rig.call("LRANGE", ["l", 0, -1], key: "l").items?.compactMap(\.integer)
                    #expect(list == Array(0..<300))
                }
            }
        }

        @Test("Password, ACL user and database are used; a wrong password is said, and is in no log")
        func credentials() async throws {
            let server = try RedisServer(["--requirepass", "s3cret-pass", "--databases", "4"])
            try await withServers(server) {
                var configuration = configuration(server)
                configuration.password = "s3cret-pass"
                configuration.database = 3
                try await ClientRig.run(configuration) { rig in
                    _ = try await rig.call("SET", ["k", "v"], key: "k")
                    #expect(try await rig.call("CLIENT", ["INFO"]).text?.contains("db=3") == true)
                    _ = try await rig.call("ACL", ["SETUSER", "bob", "on", ">b0b-pass", "~*", "&*", "+@all", "-info"])
                    _ = try await rig.call(
                        "ACL",
                        ["SETUSER", "eve", "on", ">eve-pass", "~*", "&*", "+get", "+subscribe"]
                    )
                }
                configuration.username = "bob"
                configuration.password = "b0b-pass"
                try await ClientRig.run(configuration) { rig in
                    #expect(try await rig.call("ACL", ["WHOAMI"]).text == "bob")
                    #expect(rig.log.notable.count == 1 && rig.log.notable[0].contains("+info"), "\(rig.log.notable)")
                    try await rig.until("a probe by ROLE comes back") { $0.events.contains(.probed) }
                }
                configuration.username = "eve"
                configuration.password = "eve-pass"
                configuration.database = 0
                try await ClientRig.run(configuration) { rig in
                    let result = try await rig.send(RedisCommand("SET", ["k", "v"], slotKey: "k"))
                    guard case .failure(.refused(let reply)) = result else { throw ServerError("\(result)") }
                    #expect(reply.code == "NOPERM" && reply.sentence.contains("ACL"))
                }
                configuration.username = nil
                configuration.password = "wr0ng-pass"
                configuration.commandTimeout = .seconds(1)
                try await ClientRig.run(configuration, waits: false) { rig in
                    let result = try await rig.send(RedisCommand("GET", ["k"], slotKey: "k"))
                    guard case .failure(.notSent(.unavailable(let why))) = result else {
                        throw ServerError("\(result)")
                    }
                    #expect(why.contains("password of CLUSTER_URL"))
                    #expect(rig.log.notable.count == 1)
                    let all = rig.log.lines.map(\.text).joined()
                    #expect(!all.contains("wr0ng-pass") && !all.contains("s3cret-pass"))
                }
                configuration.password = nil
                try await ClientRig.run(configuration, waits: false) { rig in
                    try await rig.until("it is said that a password is missing") { rig in
                        rig.log.notable.contains { $0.contains("wants a password") }
                    }
                }
            }
        }

        @Test("A server that removes keys when its memory is full is warned of once, and again when that has changed")
        func eviction() async throws {
            let server = try RedisServer(["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"])
            try await withServers(server) {
                try await ClientRig.run(configuration(server)) { rig in
                    func warns(_ policies: [String]) async throws {
                        try await rig.until("it warns of \(policies)") { rig in
                            rig.log.notable.filter { $0.contains("noeviction") }.count == policies.count
                        }
                        let lines = rig.log.notable.filter { $0.contains("noeviction") }
                        #expect(zip(lines, policies).allSatisfy { $0.contains($1) }, "\(lines)")
                    }
                    func connectAgain() async throws {
                        let before = try await rig.current { $0.connectionCount }
                        _ = try? await rig.call("CLIENT", ["KILL", "TYPE", "normal", "SKIPME", "no"])
                        try await rig.until("it is up again") { $0.connectionCount > before }
                        // What is answered after the question has its answer behind it.
                        _ = try await rig.call("PING")
                    }
                    try await warns(["allkeys-lru"])
                    try await connectAgain()
                    try await warns(["allkeys-lru"])
                    _ = try await rig.call("CONFIG", ["SET", "maxmemory-policy", "volatile-ttl"])
                    try await connectAgain()
                    try await warns(["allkeys-lru", "volatile-ttl"])
                    _ = try await rig.call("CONFIG", ["SET", "maxmemory-policy", "noeviction"])
                    try await connectAgain()
                    try await warns(["allkeys-lru", "volatile-ttl"])
                }
            }
        }

        @Test("A database that does not exist, a replica and a cluster node are refused with what to change")
        func unsuitable() async throws {
            let server = try RedisServer(["--databases", "2"])
            let replica = try RedisServer(["--replicaof", "127.0.0.1 \(server.port)"])
            let node = try RedisServer(["--cluster-enabled", "yes"])
            try await withServers(server, replica, node) {
                func expectRefusal(_ configuration: RedisConfiguration, _ part: String) async throws {
                    try await ClientRig.run(configuration, waits: false) { rig in
                        try await rig.until("the log says \(part)") { rig in
                            rig.log.notable.contains { $0.contains(part) }
                        }
                        let isUp = try await rig.on { $0.isUp }
                        #expect(isUp == false)
                    }
                }
                var wrong = configuration(server)
                wrong.database = 7
                try await expectRefusal(wrong, "database 7")
                try await expectRefusal(configuration(replica), "is a replica")
                try await expectRefusal(configuration(node), "redis+cluster://")
                var cluster = configuration(server)
                cluster.topology = .cluster([server.address])
                try await expectRefusal(cluster, "write redis://")
            }
        }

        @Test("A master that becomes a replica is given up, and its READONLY is no refusal")
        func demoted() async throws {
            let master = try RedisServer()
            let server = try RedisServer()
            try await withServers(master, server) {
                try await ClientRig.run(configuration(server)) { rig in
                    _ = try await rig.call("REPLICAOF", ["127.0.0.1", .number(Int64(master.port))])
                    var command = RedisCommand("SET", ["k", "v"], slotKey: "k")
                    command.followsRedirects = false
                    #expect(try await rig.send(command) == .failure(.redirected))
                    try await rig.until("it is down") { $0.client?.isUp == false }
                    let result = try await rig.send(RedisCommand("SET", ["k", "v"], slotKey: "k"))
                    guard case .failure(.notSent(.unavailable(let why))) = result else {
                        throw ServerError("\(result)")
                    }
                    #expect(why.contains("replica"))
                }
            }
        }

        @Test("A restarted server has another history, and commands that waited are carried out")
        func restart() async throws {
            let server = try RedisServer()
            try await withServers(server) {
                var configuration = configuration(server)
                configuration.commandTimeout = .seconds(5)
                try await ClientRig.run(configuration) { rig in
                    let channel = RedisChannel(name: "c")
                    try await rig.on { $0.subscribe([channel]) }
                    try await rig.until("it is subscribed") { $0.subscribed == [channel] }
                    server.stop()
                    try await rig.until("it is down") { $0.client?.isUp == false }
                    let promise = rig.loop.makePromise(of: Result<RESPValue, RedisFailure>.self)
                    try await rig.on { $0.send(RedisCommand("ECHO", ["x"], slotKey: nil)) { promise.succeed($0) } }
                    try server.startAgain()
                    #expect(try await promise.futureResult.get() == .success(.bulk(ByteBuffer(string: "x"))))
                    try await rig.until("it is subscribed again") {
                        $0.subscribed == [channel] && $0.subscribedCount == 2
                    }
                    let events = try await rig.current { $0.events }
                    #expect(events.contains(.identityChanged(.only)) && events.contains(.interrupted(1)))
                    #expect(events.count { if case .disconnected = $0 { true } else { false } } == 1)
                    #expect(
                        events.filter { if case .up = $0 { true } else { false } } == [
                            .up(true), .up(false), .up(true),
                        ]
                    )
                    #expect(rig.log.notable.count == 2, "\(rig.log.notable)")
                }
            }
        }

        @Test("Another replication id is noticed on a connection that stays")
        func identity() async throws {
            let server = try RedisServer()
            try await withServers(server) {
                try await ClientRig.run(configuration(server)) { rig in
                    _ = try await rig.call("DEBUG", ["CHANGE-REPL-ID"])
                    try await rig.until("it is noticed", within: .seconds(6)) { rig in
                        rig.events.contains(.identityChanged(.only))
                    }
                    let events = try await rig.current { $0.events.filter { $0 != .probed } }
                    #expect(events.count { $0 == .identityChanged(.only) } == 1)
                    #expect(!events.contains { if case .disconnected = $0 { true } else { false } })
                }
            }
        }

        @Test("Whatever connections are lost, each command completes once, and none is carried out twice")
        func killed() async throws {
            let server = try RedisServer()
            try await withServers(server) {
                var configuration = configuration(server)
                configuration.commandTimeout = .seconds(5)
                try await ClientRig.run(configuration) { rig in
                    let kills = 15
                    let rounds = 200
                    var successes = 0
                    var unknown = 0
                    for kill in 0..<kills {
                        let promise = rig.loop.makePromise(of: [Result<RESPValue, RedisFailure>].self)
                        try await rig.on { client in
                            var results: [Result<RESPValue, RedisFailure>] = []
                            for number in 0..<rounds {
                                client.send(RedisCommand("INCR", ["n"], slotKey: "n")) { result in
                                    results.append(result)
                                    if results.count == rounds { promise.succeed(results) }
                                }
                                if number == kill * 13 {
                                    let kill = RedisCommand(
                                        "CLIENT",
                                        ["KILL", "TYPE", "normal", "SKIPME", "no"],
                                        slotKey: nil
                                    )
                                    client.send(kill) { _ in }
                                }
                            }
                        }
                        for result in try await promise.futureResult.get() {
                            switch result {
                            case .success: successes += 1
                            case .failure(.unknown): unknown += 1
                            case .failure(let failure): Issue.record("\(failure)")
                            }
                        }
                    }
                    #expect(successes + unknown == kills * rounds)
                    let count = try await rig.call("GET", ["n"], key: "n").integer ?? -1
                    #expect(count >= successes && count <= successes + unknown)
                    #expect(unknown > 0 && successes > 0)
                }
            }
        }

        @Test("More unanswered bytes than allowed are refused as not sent")
        func full() async throws {
            let server = try RedisServer()
            try await withServers(server) {
                var configuration = configuration(server)
                configuration.maxPendingBytes = 1 << 20
                try await ClientRig.run(configuration) { rig in
                    let promise = rig.loop.makePromise(of: (Int, Int).self)
                    try await rig.on { client in
                        var done = 0
                        var full = 0
                        for _ in 0..<20 {
                            let value = RedisArgument.bytes(ByteBuffer(repeating: 0x61, count: 100_000))
                            client.send(RedisCommand("SET", ["k", value], slotKey: "k")) { result in
                                if result == .failure(.notSent(.full)) { full += 1 }
                                done += 1
                                if done == 20 { promise.succeed((done, full)) }
                            }
                        }
                    }
                    #expect(try await promise.futureResult.get().1 == 10)
                    #expect(try await rig.call("STRLEN", ["k"], key: "k").integer == 100_000)
                }
            }
        }
    }
}
