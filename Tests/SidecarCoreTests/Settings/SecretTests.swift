import Testing

@testable import SidecarCore

@Suite("Secrets in settings")
struct SecretTests {
    /// No variable of this version is secret, so the mechanism is tried on one that is made so here.
    private let registry = SettingsRegistry([
        SettingDefinition("TOKEN", .addresses, \.nodeName, .nodeName, unset: "none", isSecret: true, "A secret."),
        SettingDefinition("THREADS", .process, \.threads, .count(1...9), unset: "cores", "No secret."),
    ])

    private func parse(
        _ environment: [String: String],
        flags: [String] = [],
        files: [String: String] = [:]
    ) -> Result<Settings, SettingFaults> {
        var raw = RawSettings(registry: registry)
        _ = raw.add(arguments: flags, reserved: [])
        raw.add(environment: environment)
        raw.resolveSecretFiles { path throws(SettingsReadError) in
            guard let text = files[path] else { throw SettingsReadError("cannot be opened") }
            return Array(text.utf8)
        }
        return Settings.parse(raw)
    }

    private func faults(_ result: Result<Settings, SettingFaults>) -> [SettingFault] {
        switch result {
        case .success: []
        case .failure(let faults): faults.faults
        }
    }

    @Test("a secret is read from the file that X_FILE names, without one closing line break")
    func fromFile() throws {
        for (content, secret) in [("abc", "abc"), ("abc\n", "abc"), ("abc\r\n", "abc")] {
            #expect(try parse(["SIDESOCKET_TOKEN_FILE": "/t"], files: ["/t": content]).get().nodeName == secret)
        }
        #expect(try parse([:], flags: ["--token-file=/t"], files: ["/t": "abc"]).get().nodeName == "abc")
        #expect(faults(parse(["SIDESOCKET_TOKEN_FILE": "/t"], files: ["/t": "abc\n\n"])).count == 1)
    }

    @Test("a secret and its file together are a fault")
    func both() {
        let all = faults(parse(["SIDESOCKET_TOKEN_FILE": "/t", "SIDESOCKET_TOKEN": "hunter2"], files: ["/t": "abc"]))
        #expect(all.map(\.name) == ["SIDESOCKET_TOKEN_FILE"])
        #expect(all.allSatisfy { !$0.description.contains("hunter2") })
    }

    @Test("a secret's file that is missing, empty or no text is a fault")
    func badFiles() {
        #expect(faults(parse(["SIDESOCKET_TOKEN_FILE": "/none"])).first?.problem == "cannot be opened")
        #expect(
            faults(parse(["SIDESOCKET_TOKEN_FILE": "/t"], files: ["/t": "\n"])).first?.problem == "the file is empty"
        )
        #expect(faults(parse(["SIDESOCKET_TOKEN_FILE": "/t"], files: ["/t": "a\0b"])).count == 1)
        #expect(faults(parse(["SIDESOCKET_TOKEN_FILE": ""])).count == 1)
    }

    @Test("only secrets can be read from a file")
    func noSecret() {
        #expect(
            faults(parse(["SIDESOCKET_THREADS_FILE": "/t"], files: ["/t": "1"])).first?.problem == "unknown setting"
        )
    }

    @Test("a secret shows neither in a fault nor in the effective table")
    func redacted() throws {
        let all = faults(parse(["SIDESOCKET_TOKEN": "hunter 2"]))
        #expect(all.first?.value == "(redacted)")
        #expect(all.allSatisfy { !$0.description.contains("hunter") })
        let fromFile = faults(parse(["SIDESOCKET_TOKEN_FILE": "/t"], files: ["/t": "hunter 2"]))
        #expect(fromFile.first?.name == "SIDESOCKET_TOKEN_FILE")
        #expect(fromFile.allSatisfy { !$0.description.contains("hunter") })
        let twice = faults(parse([:], flags: ["--token=hunter2", "--token=hunter3"]))
        #expect(twice.count == 1 && twice.allSatisfy { !$0.description.contains("hunter") })

        let settings = try parse(["SIDESOCKET_TOKEN": "hunter2"]).get()
        let row = settings.effectiveTable(registry: registry).first
        #expect(row?.value == "(redacted)" && row?.isDefault == false)
        let unset = try parse([:]).get().effectiveTable(registry: registry).first
        #expect(unset?.value == "none" && unset?.isDefault == true)
    }

    @Test("the query of a URL shows neither in a fault nor in the effective table, since it may hold a key")
    func queries() throws {
        func parse(_ name: String, _ value: String) -> Result<Settings, SettingFaults> {
            var raw = RawSettings()
            raw.add(environment: ["SIDESOCKET_APP_URL": "http://a", "SIDESOCKET_\(name)": value])
            return Settings.parse(raw)
        }
        for (name, value, shown) in [
            ("WEBHOOK_URL", "/hook?key=hunter2", "/hook?(redacted)"),
            ("WEBHOOK_URL", "https://hooks.example/a?key=hunter2", "https://hooks.example/a?(redacted)"),
            ("APP_HEALTH_PATH", "/up?key=hunter2", "/up?(redacted)"), ("WEBHOOK_URL", "/hook", "/hook"),
        ] {
            let row = try parse(name, value).get().effectiveTable().first { $0.variable == "SIDESOCKET_\(name)" }
            #expect(row?.value == shown)
        }
        for value in ["https://a/?key=hunter2#x", "/hook?key=hunter2#x", "http://u:hunter2@a/", "http://a:0/?hunter2"] {
            guard case .failure(let faults) = parse("WEBHOOK_URL", value) else {
                Issue.record("\(value)")
                continue
            }
            #expect(!faults.description.contains("hunter"), "\(faults)")
        }
        // A reload sees a change in it all the same.
        let old = try parse("WEBHOOK_URL", "/hook?key=1").get()
        #expect(old.reloading(try parse("WEBHOOK_URL", "/hook?key=2").get()).needRestart == ["SIDESOCKET_WEBHOOK_URL"])
    }
}
