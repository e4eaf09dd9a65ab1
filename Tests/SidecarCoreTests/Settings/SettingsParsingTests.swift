import NIOCore
import Testing

@testable import SidecarCore

@Suite("Settings from their sources")
struct SettingsParsingTests {
    private let app = "SIDESOCKET_APP_URL"

    private func raw(_ environment: [String: String], file: String? = nil, flags: [String] = []) -> RawSettings {
        var raw = RawSettings()
        _ = raw.add(arguments: flags, reserved: [])
        raw.add(environment: environment)
        if let file { raw.add(file: Array(file.utf8), path: "s.yaml") }
        return raw
    }

    private func faults(_ raw: RawSettings) -> [String] {
        switch Settings.parse(raw) {
        case .success: []
        case .failure(let faults): faults.faults.map(\.description)
        }
    }

    @Test("with only the app's address, everything else is the default")
    func defaults() throws {
        let settings = try Settings.parse(raw([app: "http://127.0.0.1:3000"])).get()
        #expect(settings == Settings(app: .tcp(host: "127.0.0.1", port: 3000, tls: false)))
    }

    @Test("without the app's address nothing starts")
    func required() {
        let all = faults(raw([:]))
        #expect(all.count == 1)
        #expect(all.first?.hasPrefix("SIDESOCKET_APP_URL: is required") == true)
    }

    @Test("every variable reaches its setting")
    func everyVariable() throws {
        let settings = try Settings.parse(
            raw([
                "SIDESOCKET_LISTEN": "unix:/a", "SIDESOCKET_CONTROL_LISTEN": "[::1]:1",
                "SIDESOCKET_APP_URL": "https://app", "SIDESOCKET_APP_CA_FILE": "ca.pem",
                "SIDESOCKET_WS_PATHS": "/ws,/live/*", "SIDESOCKET_WEBHOOK_URL": "/e", "SIDESOCKET_PRESERVE_HOST": "no",
                "SIDESOCKET_FORWARD_HEADERS": "X-A", "SIDESOCKET_THREADS": "3", "SIDESOCKET_NODE_NAME": "n",
                "SIDESOCKET_LOG_LEVEL": "debug", "SIDESOCKET_LOG_FORMAT": "text",
                "SIDESOCKET_MAX_MESSAGE_BYTES": "1KiB",
                "SIDESOCKET_MAX_FRAGMENTS": "off", "SIDESOCKET_MESSAGE_ASSEMBLY_TIMEOUT": "off",
                "SIDESOCKET_MAX_SEND_BUFFER_BYTES": "2KiB", "SIDESOCKET_MAX_CONNECTIONS": "9",
                "SIDESOCKET_HANDSHAKE_TIMEOUT": "1s", "SIDESOCKET_MAX_HEADER_BYTES": "3KiB",
                "SIDESOCKET_MAX_HEADERS": "8", "SIDESOCKET_DRAIN_TIMEOUT": "2s", "SIDESOCKET_WEBHOOK_TIMEOUT": "3s",
                "SIDESOCKET_WEBHOOK_MAX_IN_FLIGHT": "7", "SIDESOCKET_WEBHOOK_FAILURE": "keep",
                "SIDESOCKET_MAX_PENDING_BYTES": "4KiB", "SIDESOCKET_MAX_TOTAL_PENDING_BYTES": "5KiB",
                "SIDESOCKET_MAX_REPLY_BYTES": "6KiB",
            ])
        ).get()
        var expected = Settings(app: .tcp(host: "app", port: 443, tls: true))
        expected.listen = [.unix(path: "/a")]
        expected.controlListen = [.tcp(host: "::1", port: 1)]
        expected.appCAFile = "ca.pem"
        expected.wsPaths = try [#require(PathPattern("/ws")), #require(PathPattern("/live/*"))]
        expected.webhookTarget = WebhookTarget(origin: nil, path: "/e")
        expected.preserveHost = false
        expected.forwardHeaders = ["x-a"]
        expected.threads = 3
        expected.nodeName = "n"
        expected.logLevel = .debug
        expected.logFormat = .text
        expected.maxMessageBytes = 1 << 10
        expected.maxFragments = Settings.unlimited
        expected.messageAssemblyTimeout = Settings.never
        expected.maxSendBufferBytes = 2 << 10
        expected.maxConnections = 9
        expected.handshakeTimeout = .seconds(1)
        expected.maxHeaderBytes = 3 << 10
        expected.maxHeaders = 8
        expected.drainTimeout = .seconds(2)
        expected.webhookTimeout = .seconds(3)
        expected.webhookMaxInFlight = 7
        expected.webhookFailure = .keep
        expected.maxPendingBytes = 4 << 10
        expected.maxTotalPendingBytes = 5 << 10
        expected.maxReplyBytes = 6 << 10
        #expect(settings == expected)
    }

    @Test("a flag wins over the environment, the environment over the file")
    func precedence() throws {
        let file = "app_url: http://file:1\nthreads: 1\nnode_name: file\n"
        let settings = try Settings.parse(
            raw(
                ["SIDESOCKET_THREADS": "2", "SIDESOCKET_APP_URL": "http://env:1"],
                file: file,
                flags: ["--app-url", "http://flag:1"]
            )
        ).get()
        #expect(settings.apps == [.tcp(host: "flag", port: 1, tls: false)])
        #expect(settings.threads == 2)
        #expect(settings.nodeName == "file")
    }

    @Test("all faults are listed at once, each with its variable, its value and what is accepted")
    func allFaults() {
        let all = faults(
            raw(
                ["SIDESOCKET_THREADS": "0", "SIDESOCKET_LISTEM": "x", app: "ftp://a"],
                file: "log_level: loud\nfoo: 1",
                flags: ["--drain-timeout=10"]
            )
        )
        #expect(
            all == [
                "SIDESOCKET_LISTEM: unknown setting. Did you mean SIDESOCKET_LISTEN?",
                "foo (s.yaml, line 2): unknown setting. sidesocket --help lists all settings",
                "SIDESOCKET_APP_URL=\"ftp://a\": has a scheme other than http and https. Accepted: "
                    + "http://HOST:PORT, https://HOST:PORT or unix:/path, no path after the port; comma-separated",
                "SIDESOCKET_THREADS=\"0\": is less than 1. Accepted: a whole number from 1 to 1024",
                "log_level (s.yaml, line 1)=\"loud\": is not one of the accepted values. Accepted: "
                    + "trace, debug, info, notice, warning, error, critical",
                "--drain-timeout=\"10\": has no unit of time (ms, s, m, h) after its number. Accepted: "
                    + "a duration from 100ms to 1h, such as 500ms, 10s, 5m, 1h",
            ]
        )
    }

    @Test("an empty value is a fault, but for a list that may be empty")
    func empty() throws {
        #expect(faults(raw([app: "http://a", "SIDESOCKET_NODE_NAME": ""])).count == 1)
        let settings = try Settings.parse(raw([app: "http://a", "SIDESOCKET_FORWARD_HEADERS": ""])).get()
        #expect(settings.forwardHeaders == [])
    }

    @Test("variables that Kubernetes injects for a Service named sidesocket are ignored, others are unknown")
    func kubernetes() {
        let injected = [
            "SIDESOCKET_SERVICE_HOST", "SIDESOCKET_SERVICE_PORT", "SIDESOCKET_SERVICE_PORT_HTTP", "SIDESOCKET_PORT",
            "SIDESOCKET_PORT_8080_TCP", "SIDESOCKET_PORT_8080_TCP_ADDR",
        ]
        var environment = Dictionary(uniqueKeysWithValues: injected.map { ($0, "tcp://10.0.0.1:1") })
        environment[app] = "http://a"
        #expect(faults(raw(environment)) == [])
        let all = faults(raw([app: "http://a", "SIDESOCKET_SERVICE": "1", "SIDESOCKET_LIVE_SERVICE_HOST": "10.0.0.1"]))
        #expect(all.count == 2)
        #expect(all.first?.contains("enableServiceLinks") == true)
    }

    @Test("other programs' variables are none of ours")
    func foreign() {
        #expect(
            faults(raw([app: "http://a", "PATH": "/bin", "OTEL_X": "1", "SIDESOCKETX": "1", "sidesocket_x": ""])) == []
        )
    }

    @Test("a variable of a later version is unknown, and its value is not shown")
    func later() {
        let all = faults(raw([app: "http://a", "SIDESOCKET_REDIS_PASSWORD": "hunter2"]))
        #expect(all.count == 1)
        #expect(all.allSatisfy { !$0.contains("hunter2") })
    }

    @Test("a bad value is shown without passwords, control characters and its thousandth byte")
    func shownValues() {
        let all = faults(
            raw([
                app: "http://me:hunter2@app", "SIDESOCKET_NODE_NAME": "a\u{1B}[31m\n\u{202E}",
                "SIDESOCKET_LOG_LEVEL": String(repeating: "x", count: 1000),
            ])
        )
        #expect(all.count == 3)
        #expect(all.contains { $0.contains("http://***@app") })
        #expect(all.contains { $0.contains(#""a\u{1b}[31m\n\u{202e}""#) })
        #expect(all.contains { $0.contains("(1000 bytes)") && $0.utf8.count < 250 })
        #expect(all.allSatisfy { !$0.contains("hunter2") })
    }

    @Test("a list in a file is taken where a list belongs and refused elsewhere")
    func lists() throws {
        let settings = try Settings.parse(raw([app: "http://a"], file: "ws_paths: [/a, /b]")).get()
        #expect(settings.wsPaths.map(\.description) == ["/a", "/b"])
        #expect(faults(raw([:], file: "app_url: http://a\nthreads: [1]")).count == 1)
    }

    @Test("what a missing file would have said is not asked for")
    func missingFile() {
        var raw = raw(["SIDESOCKET_CONFIG": "/none", "SIDESOCKET_THREADS": "0"])
        #expect(raw.configPath == "/none")
        raw.addUnreadableFile(path: "/none", reason: "cannot be opened")
        let all = faults(raw)
        #expect(all.count == 2)
        #expect(all.first?.hasPrefix("SIDESOCKET_CONFIG=\"/none\": cannot be opened") == true)
    }

    @Test("a WEBHOOK_URL on the app's own origin is a path on the app")
    func webhookOnApp() throws {
        let settings = try Settings.parse(raw([app: "http://a", "SIDESOCKET_WEBHOOK_URL": "http://A:80/e"])).get()
        #expect(settings.webhookTarget == WebhookTarget(origin: nil, path: "/e"))
        let other = try Settings.parse(raw([app: "http://a", "SIDESOCKET_WEBHOOK_URL": "https://a/e"])).get()
        #expect(other.webhookTarget?.origin == .tcp(host: "a", port: 443, tls: true))
    }

    @Test("the effective table has every variable and tells defaults from what was set")
    func effectiveTable() throws {
        let settings = try Settings.parse(
            raw([app: "http://a", "SIDESOCKET_THREADS": "2", "SIDESOCKET_LOG_LEVEL": "info"])
        ).get()
        let table = settings.effectiveTable()
        #expect(table.map(\.variable) == SettingsRegistry.standard.definitions.map(\.environmentName))
        #expect(table.filter { !$0.isDefault }.map(\.variable) == [app, "SIDESOCKET_THREADS"])
        #expect(table.first { $0.variable == "SIDESOCKET_MAX_CONNECTIONS" }?.value == "from the limit on open files")
    }

    @Test("every default that is not words is a value its own variable takes")
    func defaultsAreAccepted() throws {
        for definition in SettingsRegistry.standard.definitions {
            guard let text = definition.show(SettingsRegistry.defaults) else { continue }
            var settings = Settings(app: .unix(path: "/x"))
            try definition.read(text, &settings)
            #expect(definition.show(settings) == text, "\(definition.name)")
        }
        let names = SettingsRegistry.standard.definitions.map(\.name)
        #expect(Set(names).count == names.count)
    }
}
