import Testing

@testable import SidecarCore

@Suite("Settings files")
struct SettingsFileTests {
    private func read(_ text: String) -> FlatDocument {
        SettingsFile.read(Array(text.utf8))
    }

    /// The value of the file's only key, or the problem of its only fault.
    private func value(_ text: String) -> String {
        let document = read(text)
        if let fault = document.faults.first { return "fault: \(fault.problem)" }
        guard document.entries.count == 1, let entry = document.entries.first else { return "no single entry" }
        return entry.value.isList ? "[\(entry.value.text)]" : entry.value.text
    }

    @Test("YAML: keys, comments, quotes, both kinds of list, and the line of each")
    func yaml() {
        let text = """
            # comment
            ---
            app_url: http://a:1   # comment
            "node_name" : 'it''s'

            ws_paths:   # comment
              - /ws
              # comment
              - "/live/*"
            listen: [ "0.0.0.0:1", '[::]:2' ,localhost:3, ] # comment
            forward_headers: []
            log_level: "a\\t\\x41\\u00e9\\U0001F600\\"\\\\\\/"
            """
        let document = read(text)
        #expect(document.faults == [])
        #expect(
            document.entries == [
                .init(key: "app_url", value: .scalar("http://a:1"), line: 3),
                .init(key: "node_name", value: .scalar("it's"), line: 4),
                .init(key: "ws_paths", value: .list(["/ws", "/live/*"]), line: 6),
                .init(key: "listen", value: .list(["0.0.0.0:1", "[::]:2", "localhost:3"]), line: 10),
                .init(key: "forward_headers", value: .list([]), line: 11),
                .init(key: "log_level", value: .scalar("a\tAé😀\"\\/"), line: 12),
            ]
        )
    }

    @Test(
        "YAML: a plain value keeps its text",
        arguments: [
            ("a: off", "off"), ("a: 007", "007"), ("a: a b", "a b"), ("a: b#c", "b#c"), ("a: b:c", "b:c"),
            ("a: -1", "-1"), ("a: 0.0.0.0:80 ", "0.0.0.0:80"), ("a: /live/*", "/live/*"), ("a: x[1]", "x[1]"),
            ("a: a, b", "a, b"), ("a: ''", ""), ("a: \"#\"", "#"), ("a:\tb\t# c", "b"), ("a: :80", ":80"),
            ("a: [x y,z]", "[x y,z]"), ("a:\n- b\n- c", "[b,c]"), ("\u{FEFF}a: b", "b"), ("a: b\r\n", "b"),
            ("a: é", "é"),
        ]
    )
    func plain(text: String, expected: String) {
        #expect(value(text) == expected)
    }

    @Test(
        "YAML: what it would read in another way is a fault",
        arguments: [
            "a", "a:b", ": b", "a b: c", "a:", "a: ~", "a: null", "a: # c", " a: b", "\ta: b", "a: b\n  c",
            "a:\n  b: c",
            "a: &x b", "a: *x", "a: !str b", "a: |\n  b", "a: > b", "a: {b: c}", "a: @b", "a: `b", "a: %b", "a: ? b",
            "a: [::]:80", "a: [b", "a: [b,,c]", "a: [[b]]", "a: [{b: c}]", "a: [b: c]", "a: [b] c", "a: [b]#c",
            "a: [b #c]", "a: 'b", "a: \"b", "a: 'b' c", "a: 'b'#c", "a: \"\\q\"", "a: \"\\u12\"", "a: \"\\ud800\"",
            "a: b: c", "a: b:", "a: - b", "a: -", "- b", "a: b\n- c", "a:\n  - b\n - c", "a:\n-", "a:\n- - b",
            "a:\n- b: c",
            "a:\n- [b]", "a: b\n---\nc: d", "---\n---", "%YAML 1.2\n---\na: b", "...", "a: b\u{01}", "a: \"b\u{01}\"",
            "? a\n: b", "a:\n- ~", "--- a",
        ]
    )
    func yamlFaults(text: String) {
        #expect(!read(text).faults.isEmpty)
    }

    @Test("YAML: each faulty line is listed with its number, and its list items are not")
    func faultLines() {
        let document = read("ok: 1\na: &b c\nd\n- e\n- f\nthreads:\nok2: 2\n")
        #expect(document.faults.map(\.line) == [2, 3, 6])
        #expect(document.entries.map(\.key) == ["ok", "ok2"])
    }

    @Test("YAML: a file of another kind does not fill the screen")
    func manyFaults() {
        #expect(read(String(repeating: "x\n", count: 1000)).faults.count == 20)
    }

    @Test("JSON: strings, numbers and booleans keep their text, lists their items")
    func json() {
        let text = """
            {"app_url": "http://a:1",
             "threads": 4, "preserve_host": true,
             "ws_paths": ["/ws", "\\/live\\/*"], "n": "\\u0041\\ud83d\\ude00\\n", "x": -1.5e+3, "e": []}
            """
        let document = read(text)
        #expect(document.faults == [])
        #expect(
            document.entries.map(\.value.text) == ["http://a:1", "4", "true", "/ws,/live/*", "A😀\n", "-1.5e+3", ""]
        )
        #expect(document.entries.map(\.line) == [1, 2, 2, 3, 3, 3, 3])
        #expect(read(" {} ") == FlatDocument())
    }

    @Test(
        "JSON: what the standard does not allow, or is not flat, is a fault",
        arguments: [
            "{", "{a: 1}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":1 \"b\":2}", "{\"a\":1}x", "{\"a\":null}",
            "{\"a\":{}}", "{\"a\":[[]]}", "{\"a\":[1,]}", "{\"a\":[1", "{\"a\":'b'}", "{\"a\":01}", "{\"a\":+1}",
            "{\"a\":.5}",
            "{\"a\":1.}", "{\"a\":1e}", "{\"a\":True}", "{\"a\":NaN}", "{\"a\":\"b", "{\"a\":\"\n\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}", "{\"a\":\"\\ud800\"}", "{\"a\":\"\\ud800\\u0041\"}", "{\"a\":\"\\udc00\"}",
            "{\"a\":1}//",
        ]
    )
    func jsonFaults(text: String) {
        #expect(read(text).faults.count == 1)
    }

    @Test("a file that is not UTF-8 is a fault")
    func notText() {
        #expect(SettingsFile.read([0x61, 0x3A, 0x20, 0xFF]).faults.count == 1)
    }

    @Test("a key may be in upper case or with the prefix, but is there once and is never the file itself")
    func keys() {
        var raw = RawSettings()
        raw.add(file: Array("SIDESOCKET_APP_URL: http://a\nTHREADS: 1\nnode_name: n\n".utf8), path: "f")
        #expect(raw.faults == [])
        #expect(raw.values.map(\.name) == ["APP_URL", "THREADS", "NODE_NAME"])

        raw = RawSettings()
        raw.add(file: Array("threads: 1\nTHREADS: 1\nconfig: g\nthread: 1\n".utf8), path: "f")
        #expect(
            raw.faults.map(\.description) == [
                "THREADS (f, line 2): was already given on line 1. Give each setting once",
                "config (f, line 3): cannot be set in a file. Use SIDESOCKET_CONFIG or --config",
                "thread (f, line 4): unknown setting. Did you mean threads?",
            ]
        )
    }
}
