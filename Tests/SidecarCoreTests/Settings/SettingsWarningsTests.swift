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

    @Test("A proxy in front that may not name the client: all clients count as one")
    func namelessProxy() throws {
        let warnings = try warnings(["LB": "cloudflare,nginx"])
        #expect(warnings.count == 1 && warnings.allSatisfy { $0.contains("SIDESOCKET_TRUSTED_PROXIES") })
        #expect(try self.warnings(["LB": "nginx", "TRUSTED_PROXIES": "private"]) == [])
        #expect(try self.warnings(["LB": "aws-nlb"]) == [])
    }
}
