import Testing

@testable import SidecarCore

@Suite("Settings that are allowed but probably not meant")
struct SettingsWarningsTests {
    private func warnings(_ variables: [String: String]) throws -> [String] {
        var environment = ["SIDESOCKET_APP_URL": "http://app:3000"]
        for (name, value) in variables { environment["SIDESOCKET_" + name] = value }
        var raw = RawSettings()
        raw.add(environment: environment)
        return try Settings.parse(raw).get().warnings
    }

    @Test("The defaults give no warning")
    func defaults() throws {
        #expect(try warnings([:]) == [])
    }

    @Test("A WEBHOOK_URL on the app without signatures: the path alone proves nothing")
    func unsignedWebhook() throws {
        let secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
        for url in ["/events", "http://app:3000/events"] {
            let warnings = try warnings(["WEBHOOK_URL": url])
            #expect(warnings.count == 1 && warnings.allSatisfy { $0.contains("SIDESOCKET_WEBHOOK_SECRET") })
            #expect(try self.warnings(["WEBHOOK_URL": url, "WEBHOOK_SECRET": secret]) == [])
        }
        #expect(try warnings(["WEBHOOK_URL": "http://hooks.example/events"]) == [])
    }

    @Test("A proxy in front that nobody trusts is warned of", arguments: ["nginx", "mobile,caddy", "aws-alb,aws-nlb"])
    func namelessProxy(chain: String) throws {
        let warning = try #require(try warnings(["LB": chain]).first)
        #expect(warning.contains("SIDESOCKET_TRUSTED_PROXIES") && warning.contains("SIDESOCKET_LB"))
        #expect(try warnings(["LB": chain, "TRUSTED_PROXIES": "loopback"]) == [])
    }

    @Test("Nothing is warned of without a proxy that hides its clients", arguments: ["none", "aws-nlb", "mobile"])
    func noProxy(chain: String) throws {
        #expect(try warnings(["LB": chain]) == [])
        #expect(try warnings([:]) == [])
    }

    @Test("The protocol over HTTP without the protocol is warned about")
    func protocolOff() throws {
        let warning = try #require(try warnings(["HTTP_PATHS": "/ws", "PROTOCOL": "off"]).first)
        #expect(warning.contains("SIDESOCKET_HTTP_PATHS") && warning.contains("SIDESOCKET_PROTOCOL"))
        #expect(try warnings(["HTTP_PATHS": "/ws"]) == [])
    }

    @Test("Settings that open a door to anybody are warned about")
    func openDoors() throws {
        let page = try #require(try warnings(["ALLOWED_ORIGINS": "*"]).first)
        #expect(page.contains("SIDESOCKET_ALLOWED_ORIGINS"))
        for network in ["0.0.0.0/0", "::/0"] {
            let proxy = try #require(try warnings(["TRUSTED_PROXIES": "10.0.0.0/8,\(network)"]).first)
            #expect(proxy.contains("SIDESOCKET_TRUSTED_PROXIES has \(network)"))
        }
        #expect(try warnings(["ALLOWED_ORIGINS": "same-host", "TRUSTED_PROXIES": "private"]) == [])
    }
}
