import NIOCore
import Testing

@testable import SidecarCore

@Suite("Settings of the guard")
struct GuardSettingsTests {
    private func parse(_ variables: [String: String], file: String? = nil) -> Result<Settings, SettingFaults> {
        var environment = ["SIDESOCKET_APP_URL": "http://app:3000"]
        for (name, value) in variables { environment["SIDESOCKET_" + name] = value }
        var raw = RawSettings()
        raw.add(environment: environment)
        if let file { raw.add(file: Array(file.utf8), path: "s.yaml") }
        return Settings.parse(raw)
    }

    private func faults(_ variables: [String: String], file: String? = nil) -> [String] {
        switch parse(variables, file: file) {
        case .success: []
        case .failure(let faults): faults.faults.map(\.description)
        }
    }

    @Test("the defaults guard: same host, a hundred per address, rates of handshakes and messages, no bombs")
    func defaults() throws {
        let settings = try parse([:]).get()
        let table = Dictionary(uniqueKeysWithValues: settings.effectiveTable().map { ($0.variable, $0.value) })
        let expected = [
            "ALLOWED_ORIGINS": "same-host", "ALLOW_MISSING_ORIGIN": "true", "TRUSTED_PROXIES": "none",
            "CLIENT_IP_HEADER": "x-forwarded-for", "PROXY_PROTOCOL": "off", "RATE_LIMIT_IPV6_PREFIX": "64",
            "MAX_CONNECTIONS_PER_IP": "100", "MAX_CONNECTIONS_PER_USER": "off",
            "CONNECT_RATE_PER_IP": "20/1s,burst=40", "MESSAGE_RATE": "50/1s,burst=100", "MESSAGE_RATE_PER_IP": "off",
            "MESSAGE_RATE_PER_USER": "off", "BYTE_RATE": "off", "RATE_LIMIT_ACTION": "throttle", "COMPRESSION": "on",
            "COMPRESSION_CONTEXT_TAKEOVER": "off", "MAX_COMPRESSION_RATIO": "100", "SLOW_CLIENT_ACTION": "close",
            "DRY_RUN": "none", "CONTROL_RATE": "50/1s,burst=200", "MAX_SEND_BUFFER_BYTES": "256KiB",
            "MAX_TOTAL_SEND_BUFFER_BYTES": "256MiB",
        ]
        for (name, value) in expected { #expect(table["SIDESOCKET_\(name)"] == value, "\(name)") }
        #expect(settings.allowedOrigins.policy == .sameHost)
        #expect(settings.connectRatePerIP == Rate(20, per: .seconds(1), burst: 40))
    }

    @Test("every variable of the guard reaches its setting")
    func everyVariable() throws {
        let settings = try parse([
            "ALLOWED_ORIGINS": "https://A.example, https://*.example.com,null", "ALLOW_MISSING_ORIGIN": "no",
            "TRUSTED_PROXIES": "10.0.0.0/8, LOOPBACK,::2", "CLIENT_IP_HEADER": "CF-Connecting-IP",
            "PROXY_PROTOCOL": "V2", "RATE_LIMIT_IPV6_PREFIX": "56", "MAX_CONNECTIONS_PER_IP": "off",
            "MAX_CONNECTIONS_PER_USER": "3", "CONNECT_RATE_PER_IP": "off", "MESSAGE_RATE": "600/1m,burst=100",
            "MESSAGE_RATE_PER_IP": "5/1s", "MESSAGE_RATE_PER_USER": "6/2s", "BYTE_RATE": "1MiB/1s,burst=4MiB",
            "RATE_LIMIT_ACTION": "close", "COMPRESSION": "false", "COMPRESSION_CONTEXT_TAKEOVER": "on",
            "MAX_COMPRESSION_RATIO": "OFF", "SLOW_CLIENT_ACTION": "drop-oldest",
            "DRY_RUN": "message_rate, BYTE_RATE,SIDESOCKET_ALLOWED_ORIGINS,control_rate", "CONTROL_RATE": "7/1s",
            "MAX_TOTAL_SEND_BUFFER_BYTES": "off",
        ]).get()
        var expected = Settings(app: .tcp(host: "app", port: 3000, tls: false))
        expected.allowedOrigins = try AllowedOrigins(parsing: ["https://a.example", "https://*.example.com", "null"])
        expected.allowMissingOrigin = false
        expected.trustedProxies = try TrustedProxies(parsing: ["10.0.0.0/8", "127.0.0.0/8", "::1", "::2"])
        expected.clientIPHeader = .cfConnectingIP
        expected.proxyProtocol = .v2
        expected.rateLimitIPv6Prefix = 56
        expected.maxConnectionsPerIP = Settings.unlimited
        expected.maxConnectionsPerUser = 3
        expected.connectRatePerIP = nil
        expected.messageRate = Rate(600, per: .minutes(1), burst: 100)
        expected.messageRatePerIP = Rate(5, per: .seconds(1))
        expected.messageRatePerUser = Rate(6, per: .seconds(2))
        expected.byteRate = Rate(1 << 20, per: .seconds(1), burst: 4 << 20, unit: .bytes)
        expected.rateLimitAction = .close
        expected.compression = false
        expected.compressionContextTakeover = true
        expected.maxCompressionRatio = nil
        expected.slowClientAction = .dropOldest
        expected.dryRun = [.messageRate, .byteRate, .allowedOrigins, .controlRate]
        expected.controlRate = Rate(7, per: .seconds(1))
        expected.maxTotalSendBufferBytes = Settings.unlimited
        #expect(settings == expected)
    }

    @Test("what a value is shown as is a value that means the same")
    func shown() throws {
        let settings = try parse([
            "ALLOWED_ORIGINS": "HTTPS://a.example/,*", "TRUSTED_PROXIES": "private,loopback", "PROXY_PROTOCOL": "any",
            "DRY_RUN": "byte_rate,allowed_origins", "MAX_COMPRESSION_RATIO": "1",
        ]).get()
        let table = settings.effectiveTable().filter { !$0.isDefault }
        var variables: [String: String] = [:]
        for row in table { variables[String(row.variable.dropFirst(SettingsRegistry.prefix.count))] = row.value }
        #expect(variables["DRY_RUN"] == "allowed_origins,byte_rate")
        #expect(try parse(variables).get() == settings)
    }

    @Test(
        "what is none of its kind is refused, once, with the variable and what is accepted",
        arguments: [
            ("ALLOWED_ORIGINS", "example.com"), ("ALLOWED_ORIGINS", "https://a/path"), ("ALLOWED_ORIGINS", ""),
            ("ALLOWED_ORIGINS", "https://a,,https://b"), ("ALLOWED_ORIGINS", "https://a.*.example"),
            ("ALLOWED_ORIGINS", "none"), ("TRUSTED_PROXIES", "10.0.0.1/8"), ("TRUSTED_PROXIES", "nginx"),
            ("TRUSTED_PROXIES", "none,loopback"), ("TRUSTED_PROXIES", "10.0.0.0/33"), ("CLIENT_IP_HEADER", "x-client"),
            ("CLIENT_IP_HEADER", "x-forwarded-for,forwarded"), ("PROXY_PROTOCOL", "on"), ("PROXY_PROTOCOL", "v3"),
            ("MAX_CONNECTIONS_PER_IP", "0"), ("MAX_CONNECTIONS_PER_USER", "-1"), ("CONNECT_RATE_PER_IP", "20"),
            ("CONNECT_RATE_PER_IP", "0/1s"), ("MESSAGE_RATE", "20/1s,40"), ("MESSAGE_RATE", "20/1s,burst=0"),
            ("MESSAGE_RATE", "20/0s"), ("MESSAGE_RATE", "1KiB/1s"), ("BYTE_RATE", "1MB/s"), ("BYTE_RATE", "none"),
            ("RATE_LIMIT_ACTION", "drop"), ("COMPRESSION", "deflate"), ("MAX_COMPRESSION_RATIO", "100:1"),
            ("SLOW_CLIENT_ACTION", "drop"), ("SLOW_CLIENT_ACTION", "latest"), ("DRY_RUN", "max_message_bytes"),
            ("DRY_RUN", "true"), ("DRY_RUN", "message_rate,"),
        ]
    )
    func refused(name: String, value: String) {
        let all = faults([name: value])
        #expect(all.count == 1)
        #expect(all.allSatisfy { $0.hasPrefix("SIDESOCKET_\(name)=") && $0.contains("Accepted: ") }, "\(all)")
    }

    @Test(
        "numbers are tried at their least and most",
        arguments: [
            ("RATE_LIMIT_IPV6_PREFIX", "1", "128", "0", "129"), ("MAX_COMPRESSION_RATIO", "1", "10000", "0", "10001"),
            ("MAX_CONNECTIONS_PER_IP", "1", "10000000", "0", "10000001"),
            ("MAX_CONNECTIONS_PER_USER", "1", "10000000", "0", "10000001"),
        ]
    )
    func ranges(name: String, least: String, most: String, below: String, above: String) {
        #expect(faults([name: least]) == [])
        #expect(faults([name: most]) == [])
        #expect(faults([name: below]).count == 1)
        #expect(faults([name: above]).count == 1)
    }

    @Test("the fault of one item of a list names the item")
    func items() {
        let origins = faults(["ALLOWED_ORIGINS": "https://a,b.example"])
        #expect(origins.count == 1 && origins.allSatisfy { $0.contains("in \"b.example\": has no scheme") })
        let proxies = faults(["TRUSTED_PROXIES": "loopback,300.0.0.1"])
        #expect(proxies.count == 1 && proxies.allSatisfy { $0.contains("in \"300.0.0.1\"") })
        let limits = faults(["DRY_RUN": "message_rate,msg_rate"])
        #expect(limits.count == 1 && limits.allSatisfy { $0.contains("in \"msg_rate\"") })
    }

    @Test("a file gives lists as lists and the burst of a rate with its comma")
    func file() throws {
        let settings = try parse(
            [:],
            file: """
                allowed_origins: [same-host, "https://*.example.com"]
                trusted_proxies:
                  - loopback
                  - 10.0.0.0/8
                dry_run: [message_rate]
                message_rate: 20/1s,burst=40
                compression: off
                """
        ).get()
        #expect(settings.allowedOrigins.items == ["same-host", "https://*.example.com"])
        #expect(settings.trustedProxies.networks.count == 3)
        #expect(settings.dryRun == [.messageRate])
        #expect(settings.messageRate == Rate(20, per: .seconds(1), burst: 40))
        #expect(!settings.compression)
        #expect(faults([:], file: "message_rate: [20/1s, burst=40]").count == 1)
        #expect(faults([:], file: "client_ip_header: [forwarded]").count == 1)
    }

    @Test("PROXY headers need proxies to come from, and the fault says what to set")
    func proxyProtocol() {
        for mode in ["v1", "v2", "any"] {
            let all = faults(["PROXY_PROTOCOL": mode])
            #expect(all.count == 1)
            #expect(
                all.allSatisfy {
                    $0.hasPrefix("SIDESOCKET_PROXY_PROTOCOL=\"\(mode)\"") && $0.contains("SIDESOCKET_TRUSTED_PROXIES")
                }
            )
            #expect(faults(["PROXY_PROTOCOL": mode, "TRUSTED_PROXIES": "none"]).count == 1)
            #expect(faults(["PROXY_PROTOCOL": mode, "TRUSTED_PROXIES": "loopback"]) == [])
        }
        #expect(faults(["PROXY_PROTOCOL": "off"]) == [])
        // The list's own fault is the one to mend first.
        #expect(faults(["PROXY_PROTOCOL": "v1", "TRUSTED_PROXIES": "nginx"]).count == 1)
    }

    @Test("what is done with slow clients can be what a channel does, but for keeping its newest message alone")
    func slowClients() throws {
        for action in SlowClientAction.allCases where action != .latest {
            let settings = try parse(["SLOW_CLIENT_ACTION": action.rawValue.uppercased()]).get()
            #expect(settings.slowClientAction == action)
        }
        let all = faults(["SLOW_CLIENT_ACTION": "latest"])
        #expect(all.count == 1 && all.allSatisfy { $0.contains("Accepted: close, drop-oldest, drop-newest") })
        #expect(!all.contains { $0.contains("drop-newest, latest") })
    }

    @Test("every limit that can run dry is a variable")
    func dryRunNames() {
        for limit in DryRunLimit.allCases {
            #expect(SettingsRegistry.standard[limit.rawValue.uppercased()] != nil, "\(limit)")
        }
    }
}
