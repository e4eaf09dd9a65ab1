import NIOCore
import Testing

@testable import SidecarCore

@Suite("Settings of a cluster")
struct ClusterSettingsTests {
    private static let secret = "0123456789abcdef"

    private func parse(
        _ variables: [String: String],
        yaml: String? = nil,
        files: [String: String] = [:]
    ) -> Result<Settings, SettingFaults> {
        var environment = ["SIDESOCKET_APP_URL": "http://app:3000"]
        for (name, value) in variables { environment["SIDESOCKET_" + name] = value }
        var raw = RawSettings()
        raw.add(environment: environment)
        if let yaml { raw.add(file: Array(yaml.utf8), path: "s.yaml") }
        raw.resolveSecretFiles { path throws(SettingsReadError) in
            guard let text = files[path] else { throw SettingsReadError("cannot be opened") }
            return Array(text.utf8)
        }
        return Settings.parse(raw)
    }

    private func faults(_ variables: [String: String]) -> [String] {
        switch parse(variables) {
        case .success: []
        case .failure(let faults): faults.faults.map(\.description)
        }
    }

    private func table(_ settings: Settings) -> [String: String] {
        Dictionary(uniqueKeysWithValues: settings.effectiveTable().map { ($0.variable, $0.value) })
    }

    @Test("Without any of them a node is alone")
    func defaults() throws {
        let settings = try parse([:]).get()
        #expect(settings.clusterURL == nil && settings.clusterSecrets == nil && settings.ingestURLs == nil)
        #expect(settings.clusterPrefix == "sidesocket" && settings.clusterMinReplicas == 0)
        #expect(settings.clusterTimeout == .seconds(1) && settings.clusterLease == .seconds(10))
        #expect(!settings.readyNeedsCluster)
    }

    @Test("Every variable reaches its setting")
    func everyVariable() throws {
        let settings = try parse([
            "CLUSTER_URL": "redis://cache", "CLUSTER_PREFIX": "My_App-2", "CLUSTER_SECRET": Self.secret,
            "CLUSTER_TIMEOUT": "250ms", "CLUSTER_LEASE": "1m", "CLUSTER_MIN_REPLICAS": "2",
            "READY_NEEDS_CLUSTER": "yes", "INGEST_URL": "redis://jobs?stream=s",
        ]).get()
        let cache = EngineURL(hosts: [.init(host: "cache", port: 6379)])
        let jobs = EngineURL(hosts: [.init(host: "jobs", port: 6379)])
        #expect(settings.clusterURL == cache && settings.clusterPrefix == "My_App-2")
        #expect(settings.clusterSecrets?.secrets == [Self.secret])
        #expect(settings.clusterTimeout == .milliseconds(250) && settings.clusterLease == .minutes(1))
        #expect(settings.clusterMinReplicas == 2 && settings.readyNeedsCluster)
        #expect(settings.ingestURLs == [IngestURL(engine: jobs, stream: "s")])
    }

    private static let longestPrefix = String(repeating: "p", count: 64)
    private static let longestSecret = String(repeating: "s", count: 1024)
    private static let mostSecrets = Array(repeating: secret, count: 16).joined(separator: " ")

    private static let bounds: [(name: String, good: [String], bad: [String])] = [
        ("CLUSTER_TIMEOUT", ["100ms", "10s"], ["99ms", "10001ms", "off", "1"]),
        ("CLUSTER_LEASE", ["3s", "5m"], ["2999ms", "301s", "off"]),
        ("CLUSTER_MIN_REPLICAS", ["0", "16"], ["-1", "17", "off"]),
        ("READY_NEEDS_CLUSTER", ["true", "off"], ["maybe"]),
        ("CLUSTER_PREFIX", ["a", longestPrefix], ["", "\(longestPrefix)p", "a b", "a:b", "a{b}", "a.b", "ü", "a*"]),
        (
            "CLUSTER_SECRET", [secret, longestSecret, mostSecrets],
            ["", " ", String(secret.dropLast()), "\(longestSecret)s", "\(secret) short", "\(mostSecrets) \(secret)"]
        ),
    ]

    @Test("Each value is tried at its least and most", arguments: bounds)
    func ranges(name: String, good: [String], bad: [String]) {
        for value in good { #expect(faults([name: value]) == [], "\(value)") }
        for value in bad { #expect(faults([name: value]).count == 1, "\(value)") }
    }

    @Test("Several secrets are separated by spaces or lines, the one in use first")
    func secrets() throws {
        let next = "fedcba9876543210"
        let settings = try parse(["CLUSTER_SECRET": " \(next)  \(Self.secret) "]).get()
        #expect(settings.clusterSecrets?.secrets == [next, Self.secret])
        let fromFile = try parse(["CLUSTER_SECRET_FILE": "/s"], files: ["/s": "\(next)\n\(Self.secret)\n"]).get()
        #expect(fromFile.clusterSecrets == settings.clusterSecrets)
        #expect(ClusterSecrets("short") == nil && ClusterSecrets(Self.secret)?.secrets == [Self.secret])
        #expect("\(try #require(settings.clusterSecrets))" == "(redacted)")
    }

    @Test("Ingest streams are a list, in which the hosts of one URL have commas of their own")
    func ingest() throws {
        let syntax = ValueSyntax<[IngestURL]>.ingestURLs
        let text =
            "redis://u:a,b@h/1, rediss+sentinel://h1:1,h2:2/m?stream=a:b&ca=x,y ,redis+cluster://h3,h4?stream=c%2Cd"
        let urls = try syntax.read(text)
        #expect(urls.map(\.stream) == ["sidesocket:publish", "a:b", "c,d"])
        #expect(urls.map(\.engine.hosts.count) == [1, 2, 2])
        #expect(urls.first?.engine.password == "a,b" && urls.dropFirst().first?.engine.caFile == "x,y")
        #expect(try syntax.read(syntax.show(urls)) == urls)
        #expect(
            syntax.redacted?(urls) == "redis://h:6379/1?stream=sidesocket:publish,"
                + "rediss+sentinel://h1:1,h2:2/m?stream=a:b,redis+cluster://h3:6379,h4:6379?stream=c%2Cd"
        )
        #expect(faults(["INGEST_URL": "redis://h?stream=a}b"]) == [])
        #expect(faults(["INGEST_URL": "redis+cluster://h?stream=a}{b}c"]) == [])
        let settings = try parse([:], yaml: "ingest_url:\n  - redis://a\n  - redis+cluster://b,c\n").get()
        #expect(settings.ingestURLs?.map(\.engine.hosts.count) == [1, 2])
    }

    @Test(
        "What is no ingest stream is refused with a reason, and in a list with its place",
        arguments: [
            ("nats://h", "NATS is not supported by this version"),
            ("kafka://h/topic", "Kafka is not supported by this version"),
            ("redis://a,kafka://h/topic", "in URL 2: is a URL of Kafka"),
            ("Kafka://h/topic", "Kafka is not supported by this version"),
            ("http://h", "scheme"), ("redis://a,", "several hosts"), (",redis://a", "in URL 1: has no redis://"),
            ("redis://a,,redis://b", "in URL 1: has several hosts"), ("redis://h?stream=", "empty parameter stream"),
            ("redis://h?stream=a%20b", "a stream"), ("redis://h?stream=%C3%BC", "a stream"),
            ("redis+cluster://h?stream=a%7Db", "has a stream with a }"),
            ("redis+cluster://h?stream=%7B%7Da%7Bb%7D", "has a stream with a }"),
            ("redis://h?stream=a&stream=b", "stream twice"), ("redis://h?streams=a", "known: ca, cert, key, stream"),
            ("redis://h,redis://h:6379/0?stream=sidesocket:publish", "in URL 2: is in the list already"),
        ]
    )
    func badIngest(text: String, reason: String) throws {
        let fault = try #require(faults(["INGEST_URL": text]).first)
        #expect(fault.contains(reason))
    }

    @Test("The name of a stream and the number of streams are tried at their most")
    func ingestRanges() {
        let name = String(repeating: "s", count: 200)
        #expect(faults(["INGEST_URL": "redis://h?stream=\(name)"]) == [])
        #expect(faults(["INGEST_URL": "redis://h?stream=\(name)s"]).count == 1)
        let urls = (1...17).map { "redis://h\($0)" }
        #expect(faults(["INGEST_URL": urls.dropLast().joined(separator: ",")]) == [])
        #expect(faults(["INGEST_URL": urls.joined(separator: ",")]).count == 1)
    }

    @Test("Secrets may come from files, and nothing secret of them is shown")
    func redacted() throws {
        let names = ["CLUSTER_URL", "INGEST_URL", "CLUSTER_SECRET"]
        let settings = try parse(
            Dictionary(uniqueKeysWithValues: names.map { ("\($0)_FILE", "/\($0)") }),
            files: [
                "/CLUSTER_URL": "rediss://hunter2:hunter2@cache/2?ca=/hunter2.pem\n",
                "/INGEST_URL": "redis://:hunter2@jobs?stream=s\n",
                "/CLUSTER_SECRET": "hunter2hunter2hunter2\n",
            ]
        ).get()
        #expect(settings.clusterURL?.password == "hunter2" && settings.ingestURLs?.count == 1)
        let table = table(settings)
        #expect(table["SIDESOCKET_CLUSTER_URL"] == "rediss://cache:6379/2")
        #expect(table["SIDESOCKET_INGEST_URL"] == "redis://jobs:6379?stream=s")
        #expect(table["SIDESOCKET_CLUSTER_SECRET"] == "(redacted)")
        #expect(!"\(settings)".contains("hunter2"))
        let rows = settings.effectiveTable().filter { row in names.contains { row.variable == "SIDESOCKET_\($0)" } }
        #expect(rows.count == 3 && rows.allSatisfy { !$0.isDefault })
        #expect(settings.warnings.allSatisfy { !$0.contains("hunter2") })
    }

    @Test("A fault says what is wrong with a secret without quoting it")
    func silentFaults() throws {
        for (name, value, reason) in [
            ("CLUSTER_URL", "redis://hunter2@h", "write USER:PASSWORD@"),
            ("CLUSTER_URL", "nats://u:hunter2@h", "NATS is not supported by this version"),
            ("INGEST_URL", "redis://a,redis://:hunter2@h:0", "in URL 2: has no port"),
            ("CLUSTER_SECRET", "hunter2", "less than 16 bytes"),
        ] {
            let fault = try #require(faults([name: value]).first)
            #expect(fault.contains("SIDESOCKET_\(name)=(redacted): ") && fault.contains(reason), "\(fault)")
            #expect(!fault.contains("hunter"), "\(fault)")
        }
    }

    @Test("A reload changes none of them, but names each that has a new value")
    func reload() throws {
        let old = try parse(["CLUSTER_URL": "redis://:a@h", "INGEST_URL": "redis://:a@h"]).get()
        let new = try parse([
            "CLUSTER_URL": "redis://:b@h", "INGEST_URL": "redis://:b@h", "CLUSTER_PREFIX": "p",
            "CLUSTER_SECRET": Self.secret, "CLUSTER_TIMEOUT": "2s", "CLUSTER_LEASE": "20s",
            "CLUSTER_MIN_REPLICAS": "1", "READY_NEEDS_CLUSTER": "true",
        ]).get()
        let reload = old.reloading(new)
        #expect(reload.settings == old && reload.changed == [])
        #expect(
            reload.needRestart == [
                "SIDESOCKET_INGEST_URL", "SIDESOCKET_CLUSTER_URL", "SIDESOCKET_CLUSTER_PREFIX",
                "SIDESOCKET_CLUSTER_SECRET", "SIDESOCKET_CLUSTER_TIMEOUT", "SIDESOCKET_CLUSTER_LEASE",
                "SIDESOCKET_CLUSTER_MIN_REPLICAS", "SIDESOCKET_READY_NEEDS_CLUSTER",
            ]
        )
    }

    @Test(
        "What has no effect without a cluster is warned of",
        arguments: [
            ("CLUSTER_PREFIX", "p"), ("CLUSTER_SECRET", secret), ("CLUSTER_TIMEOUT", "2s"), ("CLUSTER_LEASE", "20s"),
            ("CLUSTER_MIN_REPLICAS", "1"), ("READY_NEEDS_CLUSTER", "true"),
        ]
    )
    func withoutEffect(name: String, value: String) throws {
        let warnings = try parse([name: value]).get().warnings
        #expect(warnings.count == 1)
        #expect(warnings.first?.hasPrefix("SIDESOCKET_\(name) has no effect without SIDESOCKET_CLUSTER_URL") == true)
        let inCluster = ["CLUSTER_URL": "redis://h", "CLUSTER_SECRET": Self.secret].merging([name: value]) { $1 }
        #expect(try parse(inCluster).get().warnings == [])
    }

    @Test("A cluster without a secret is warned of")
    func openCluster() throws {
        let warnings = try parse(["CLUSTER_URL": "redis://h"]).get().warnings
        #expect(warnings.count == 1)
        #expect(warnings.first?.contains("SIDESOCKET_CLUSTER_SECRET is not") == true)
        #expect(try parse(["INGEST_URL": "redis://h"]).get().warnings == [])
    }

    @Test(
        "A password that leaves the machine without TLS is warned of",
        arguments: [
            ("redis://:p@h", true), ("redis+cluster://:p@127.0.0.1,h", true), ("redis+sentinel://u:p@h/m", true),
            ("redis://h", false), ("rediss://:p@h", false), ("redis://:p@localhost", false),
            ("redis://:p@[::1]", false), ("redis+cluster://:p@127.0.0.1:1,127.0.0.1:2", false),
        ]
    )
    func plainPassword(url: String, isWarned: Bool) throws {
        for variables in [["CLUSTER_URL": url, "CLUSTER_SECRET": Self.secret], ["INGEST_URL": "redis://a,\(url)"]] {
            let warnings = try parse(variables).get().warnings
            #expect(warnings.count == (isWarned ? 1 : 0))
            #expect(warnings.allSatisfy { $0.contains("_URL sends a password without TLS") })
        }
    }

    @Test("A policy may close those to whom messages of a channel were lost")
    func gaps() throws {
        let syntax = ValueSyntax<[ChannelPolicy]>.channelPolicies
        let text = "a:*=close,history=5,ttl=1h,gap=close;b=gap=close;c=latest"
        let policies = try syntax.read(text)
        #expect(policies.map(\.closesOnGap) == [true, true, false])
        #expect(syntax.show(policies) == text)
        #expect(try syntax.read("a=gap=close, close").first?.action == .close)
        for bad in ["a=gap=close,gap=close", "a=gap=open", "a=gap=", "a=gap", "a=gap=Close"] {
            #expect(throws: ValueProblem.self, "\(bad)") { try syntax.read(bad) }
        }
    }
}
