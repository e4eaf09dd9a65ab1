import NIOCore
import Testing

@testable import RedisClient

@Suite("Greeting")
struct ServerGreetingTests {
    /// Runs a greeting: what is sent and how it ends, as lines.
    private func run(
        _ purpose: ServerGreeting.Purpose,
        user: String? = nil,
        password: String? = nil,
        database: Int = 0,
        _ replies: String...
    ) throws -> [String] {
        var configuration = RedisConfiguration(topology: .standalone(RedisAddress(host: "h", port: 1)))
        configuration.username = user
        configuration.password = password
        configuration.database = database
        configuration.clientName = "me"
        var greeting = ServerGreeting(purpose: purpose, credentials: ServerGreeting.Credentials(configuration))
        var lines = [line(greeting.begin())]
        for reply in replies {
            switch greeting.received(try RESPText.one(reply)) {
            case .send(let command): lines.append(line(command))
            case .ready(let server, let probe):
                lines.append("ready \(server.version) \(server.mode) \(server.replicationID ?? "-") \(probe)")
            case .fail(let fault): lines.append("\(fault.kind): \(fault.sentence)")
            }
        }
        return lines
    }

    private func line(_ command: RedisCommand) -> String {
        ([command.name]
            + command.arguments.map {
                switch $0 {
                case .text(let text): text
                case .number(let number): "\(number)"
                case .bytes: "bytes"
                }
            }).joined(separator: " ")
    }

    private func hello(_ version: String, _ mode: String) -> String {
        "%3\r\n$7\r\nversion\r\n$\(version.utf8.count)\r\n\(version)\r\n$4\r\nmode\r\n+\(mode)\r\n$5\r\nproto\r\n:3\r\n"
    }

    private let master = "=39\r\ntxt:role:master\r\nmaster_replid:abcdef\r\n\r\n"
    private let replica = "$12\r\nrole:slave\r\n\r\n"

    @Test("A master is greeted, asked for its database, and for its role")
    func greetsMaster() throws {
        let lines = try run(
            .master(inCluster: false),
            password: "secret",
            database: 3,
            hello("7.0.15", "standalone"),
            "+OK\r\n",
            master
        )
        #expect(
            lines == [
                "HELLO 3 AUTH default secret SETNAME me", "SELECT 3", "INFO replication",
                "ready 7.0 standalone abcdef info",
            ]
        )
        let named = try run(.master(inCluster: true), user: "u", password: "p", hello("6.2.0", "cluster"), master)
        #expect(named == ["HELLO 3 AUTH u p SETNAME me", "INFO replication", "ready 6.2 cluster abcdef info"])
    }

    @Test("Without permission for INFO the role is asked for, and without that nothing")
    func weaker() throws {
        let denied = "-NOPERM this user has no permissions\r\n"
        let role = try run(
            .master(inCluster: false),
            hello("7.2.4", "standalone"),
            denied,
            "*3\r\n+master\r\n:0\r\n*0\r\n"
        )
        #expect(role.suffix(2) == ["ROLE", "ready 7.2 standalone - role"])
        let none = try run(.master(inCluster: false), hello("7.2.4", "standalone"), denied, denied, "+PONG\r\n")
        #expect(none.suffix(2) == ["PING", "ready 7.2 standalone - ping"])
        let nothing = try run(.master(inCluster: false), hello("7.2.4", "standalone"), denied, denied, denied)
        #expect(nothing.last == "ready 7.2 standalone - ping")
    }

    @Test("A replica is refused")
    func refusesReplica() throws {
        let lines = try run(.master(inCluster: false), hello("7.0.0", "standalone"), replica)
        #expect(lines.last?.hasPrefix("role: The server is a replica") == true)
    }

    @Test(
        "What does not suit is refused with what to change",
        arguments: [
            ("-ERR unknown command `HELLO`\r\n", "6.2"), ("-WRONGPASS invalid\r\n", "password of CLUSTER_URL"),
            ("-NOAUTH HELLO must\r\n", "password"), ("-NOPROTO unsupported\r\n", "6.2"),
            ("-ERR max clients\r\n", "max clients"),
            ("+OK\r\n", "is this Redis"), ("*0\r\n", "is this Redis"),
            ("%1\r\n+version\r\n+6.0.9\r\n", "Redis 6.2 or later"), ("%1\r\n+version\r\n+x\r\n", "is this Redis"),
            ("%2\r\n+version\r\n+7.0.0\r\n+mode\r\n+cluster\r\n", "redis+cluster://"),
            ("%2\r\n+version\r\n+7.0.0\r\n+mode\r\n+sentinel\r\n", "redis+sentinel://"),
        ]
    )
    func refusals(reply: String, part: String) throws {
        let last = try #require(try run(.master(inCluster: false), reply).last)
        #expect(last.hasPrefix("refusal: ") && last.contains(part), "\(last)")
    }

    @Test("A password that a server repeats is left out, and no description of the configuration shows it")
    func secrets() throws {
        let replies = [
            "-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `hunter2`\r\n",
            "-ERR unsupported HELLO 3 AUTH default hunter2\r\n", "-WRONGPASS hunter2 is wrong\r\n",
        ]
        for reply in replies {
            let last = try #require(try run(.master(inCluster: false), password: "hunter2", reply).last)
            #expect(last.hasPrefix("refusal") && !last.contains("hunter2"))
        }
        var configuration = RedisConfiguration(topology: .standalone(RedisAddress(host: "h", port: 1)))
        configuration.password = "hunter2"
        var dumped = ""
        dump(configuration, to: &dumped)
        for text in ["\(configuration)", String(reflecting: configuration), dumped] {
            #expect(!text.contains("hunter2") && text.contains("h:1"))
        }
    }

    @Test("A server outside of a cluster is refused where a cluster is wanted, and a wrong database is named")
    func modes() throws {
        let single = hello("7.0.0", "standalone")
        #expect(try run(.master(inCluster: true), single).last?.contains("write redis://") == true)
        #expect(try run(.anyNode, single).last?.contains("write redis://") == true)
        #expect(try run(.anyNode, hello("7.0.0", "cluster")).last == "ready 7.0 cluster - ping")
        let lines = try run(.master(inCluster: false), database: 99, single, "-ERR DB index is out of range\r\n")
        #expect(lines.last?.contains("database 99") == true)
    }

    @Test("A Sentinel gets the password only when it wants one")
    func sentinel() throws {
        let ok = hello("7.0.0", "sentinel")
        #expect(try run(.sentinel, password: "p", ok) == ["HELLO 3 SETNAME me", "ready 7.0 sentinel - ping"])
        let wanted = try run(.sentinel, password: "p", "-NOAUTH HELLO must be called\r\n", ok)
        #expect(wanted[1] == "HELLO 3 AUTH default p SETNAME me" && wanted.last?.hasPrefix("ready") == true)
        #expect(try run(.sentinel, "-NOAUTH x\r\n").last?.contains("password") == true)
        #expect(
            try run(.sentinel, password: "p", "-NOAUTH x\r\n", "-WRONGPASS x\r\n").last?.hasPrefix("refusal") == true
        )
        #expect(try run(.sentinel, hello("7.0.0", "standalone")).last?.contains("no Sentinel") == true)
    }
}

@Suite("Watch over a connection")
struct ConnectionWatchTests {
    private func at(_ milliseconds: Int64) -> NIODeadline { .uptimeNanoseconds(0) + .milliseconds(milliseconds) }

    private func watch() -> ConnectionWatch {
        ConnectionWatch(probeInterval: .milliseconds(1500), probeTimeout: .milliseconds(1500), now: at(0))
    }

    @Test("A greeting that gets no answer is given up")
    func greeting() {
        var watch = watch()
        #expect(watch.check(at: at(0)) == .wait(until: at(3000)))
        #expect(watch.check(at: at(3000)) == .giveUp)
    }

    @Test("A quiet connection is probed, and given up when it stays silent")
    func silence() {
        var watch = watch()
        watch.allowProbes(at: at(0))
        #expect(watch.check(at: at(0)) == .wait(until: at(1500)))
        #expect(watch.check(at: at(1500)) == .probe)
        #expect(watch.check(at: at(1500)) == .wait(until: at(3000)))
        #expect(watch.check(at: at(3000)) == .giveUp)
    }

    @Test("An answered probe begins it anew; at most one a second is sent")
    func answered() {
        var watch = watch()
        watch.allowProbes(at: at(0))
        _ = watch.check(at: at(0))
        #expect(watch.check(at: at(1500)) == .probe)
        watch.received(at: at(1510))
        watch.probeAnswered()
        #expect(watch.check(at: at(1510)) == .wait(until: at(3010)))
        #expect(watch.check(at: at(3010)) == .probe)
    }

    @Test("A busy connection is asked for its role every five seconds")
    func role() {
        var watch = watch()
        watch.allowProbes(at: at(0))
        var probes: [Int64] = []
        for time in stride(from: Int64(0), through: 20_000, by: 100) {
            watch.received(at: at(time))
            if watch.check(at: at(time)) == .probe {
                probes.append(time)
                watch.probeAnswered()
            }
        }
        #expect(probes == [5_000, 10_000, 15_000, 20_000])
    }

    @Test("A check that comes too late gives what has arrived a chance to be read")
    func late() {
        var watch = watch()
        _ = watch.check(at: at(0))
        #expect(watch.check(at: at(9_000)) == .wait(until: at(9_050)))
        #expect(watch.check(at: at(9_050)) == .giveUp)
    }

    @Test(
        "A policy that removes keys is read, if the memory has a bound",
        arguments: [
            ("maxmemory:0\r\nmaxmemory_policy:allkeys-lru", nil),
            ("maxmemory:1048576\r\nmaxmemory_policy:noeviction", nil),
            ("# Memory\r\nmaxmemory:1048576\r\nmaxmemory_policy:allkeys-lru\r\n", "allkeys-lru"),
            ("maxmemory_policy:volatile-ttl", "volatile-ttl"), ("maxmemory:1048576", nil), ("", nil),
            ("maxmemory_policy:", nil), ("maxmemory_policy:lru\u{1B}[31m", nil),
            ("maxmemory_policy:\(String(repeating: "a", count: 33))", nil),
        ] as [(String, String?)]
    )
    func eviction(info: String, policy: String?) {
        #expect(EvictionPolicy(info: .bulk(ByteBuffer(string: info)))?.name == policy)
        #expect(EvictionPolicy(info: .integer(1)) == nil && EvictionPolicy(info: .null) == nil)
    }
}
