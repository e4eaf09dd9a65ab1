import Testing

@testable import SidecarCore

@Suite("Settings as flags")
struct FlagTests {
    private func add(_ arguments: String...) -> (raw: RawSettings, rest: [String]) {
        var raw = RawSettings()
        let rest = raw.add(arguments: arguments, reserved: ["check", "--help", "-h", "--version"])
        return (raw, rest)
    }

    @Test("a flag's value follows it or its equals sign")
    func values() {
        let (raw, rest) = add("--app-url", "http://a", "check", "--node-name=a=b", "--webhook-url=", "--threads", "-1")
        #expect(rest == ["check"])
        #expect(raw.faults == [])
        #expect(raw.values.map(\.name) == ["APP_URL", "NODE_NAME", "WEBHOOK_URL", "THREADS"])
        #expect(raw.values.map(\.text) == ["http://a", "a=b", "", "-1"])
        #expect(raw.values.allSatisfy { $0.origin == .flag })
    }

    @Test("each variable has its flag")
    func everyVariable() {
        for definition in SettingsRegistry.standard.definitions {
            #expect(add("\(definition.flag)=x").raw.values.map(\.name) == [definition.name])
        }
        #expect(SettingsRegistry.standard["MAX_MESSAGE_BYTES"]?.flag == "--max-message-bytes")
    }

    @Test("words for help, version and check are left to the caller, also where a value belongs")
    func reserved() {
        #expect(add("-h").rest == ["-h"])
        #expect(add("--app-url", "--help").rest == ["--help"])
        #expect(add("--app-url", "--help").raw.faults.map(\.name) == ["--app-url"])
        #expect(add("--version", "x").rest == ["--version", "x"])
    }

    @Test(
        "a flag that is unknown, in other letters or with one dash is a fault",
        arguments: ["--listem", "--LISTEN", "-listen", "--app_url", "--", "-x", "--sidesocket-listen", "---listen"]
    )
    func unknown(flag: String) {
        let (raw, rest) = add(flag, "value", "check")
        #expect(raw.faults.map(\.name) == [flag])
        #expect(raw.values == [])
        #expect(rest == ["check"])
    }

    @Test("a misspelt flag is answered with the one that was meant")
    func suggestion() {
        #expect(add("--max-mesage-bytes=1").raw.faults.first?.advice == "Did you mean --max-message-bytes?")
        #expect(add("--lsiten=1").raw.faults.first?.advice == "Did you mean --listen?")
    }

    @Test("a flag without a value, or given twice, is a fault")
    func faulty() {
        #expect(add("--listen").raw.faults.map(\.problem) == ["has no value"])
        #expect(add("--listen", "--threads=1").raw.faults.map(\.name) == ["--listen"])
        #expect(add("--threads=1", "--threads=2").raw.faults.map(\.problem) == ["is given twice"])
    }
}
