import Testing

@testable import SidecarCore

@Suite("Settings that must fit each other")
struct SettingsCrossCheckTests {
    private func faults(_ variables: [String: String]) -> [SettingFault] {
        var environment = ["SIDESOCKET_APP_URL": "http://app:3000"]
        for (name, value) in variables { environment["SIDESOCKET_" + name] = value }
        var raw = RawSettings()
        raw.add(environment: environment)
        switch Settings.parse(raw) {
        case .success: return []
        case .failure(let faults): return faults.faults
        }
    }

    @Test("sizes are independent: a message larger than what may be pending waits until it is alone")
    func sizesAreIndependent() {
        #expect(faults(["MAX_MESSAGE_BYTES": "1MiB"]) == [])
        #expect(faults(["MAX_PENDING_BYTES": "1KiB", "MAX_TOTAL_PENDING_BYTES": "1KiB"]) == [])
    }

    @Test("readiness that needs the app needs its health check")
    func readiness() {
        #expect(faults(["READY_NEEDS_APP": "true"]).map(\.name) == ["SIDESOCKET_READY_NEEDS_APP"])
        #expect(faults(["READY_NEEDS_APP": "true", "APP_HEALTH_PATH": "/healthz"]) == [])
        #expect(faults(["READY_NEEDS_APP": "false"]) == [])
    }

    @Test("what depends on a faulty value is not checked")
    func afterFault() {
        #expect(
            faults(["CONTROL_LISTEN": "nowhere", "LISTEN": "127.0.0.1:9090"]).map(\.name) == [
                "SIDESOCKET_CONTROL_LISTEN"
            ]
        )
    }

    @Test(
        "public and control listener cannot share an address",
        arguments: [
            ("0.0.0.0:9090", 1), ("127.0.0.1:9090", 1), ("localhost:9090", 0), ("[::]:9090", 0), ("127.0.0.1:9091", 0),
            ("unix:/run/x", 0),
        ]
    )
    func listeners(listen: String, count: Int) {
        #expect(faults(["LISTEN": listen]).count == count)
    }

    @Test(
        "the app cannot be Sidesocket itself",
        arguments: [
            ("http://127.0.0.1:8080", 1), ("http://localhost:8080", 1), ("http://0.0.0.0:8080", 1),
            ("http://127.0.0.1:9090", 1), ("http://[::1]:8080", 0), ("http://app:8080", 0),
            ("http://127.0.0.1:3000", 0),
        ]
    )
    func itself(app: String, count: Int) {
        #expect(faults(["APP_URL": app]).count == count)
        #expect(faults(["WEBHOOK_URL": app + "/events"]).count == count)
    }

    @Test("the app cannot be Sidesocket's own socket, nor its own IPv6 wildcard")
    func itselfElsewhere() {
        #expect(faults(["APP_URL": "unix:/run/s", "LISTEN": "unix:/run/s"]).count == 1)
        #expect(faults(["APP_URL": "http://127.0.0.1:80", "LISTEN": "[::]:80"]).count == 1)
        #expect(faults(["APP_URL": "http://127.0.0.1:80", "LISTEN": "10.0.0.1:80"]) == [])
    }

    @Test("authorities for https are refused where nothing is called over https")
    func authorities() {
        #expect(faults(["APP_CA_FILE": "ca.pem"]).map(\.name) == ["SIDESOCKET_APP_CA_FILE"])
        #expect(faults(["APP_CA_FILE": "ca.pem", "APP_URL": "https://app"]) == [])
        #expect(faults(["APP_CA_FILE": "ca.pem", "WEBHOOK_URL": "https://hooks/"]) == [])
    }
}
