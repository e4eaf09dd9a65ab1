import SidecarCore
import Testing

@Suite("Audit records and unsafe text")
struct AuditRecordTests {
    @Test(
        "No character that drives a terminal or turns text round reaches a line",
        arguments: [
            "\u{0}", "\u{1B}", "\u{7F}", "\u{80}", "\u{9B}", "\u{9F}", "\u{61C}", "\u{200E}", "\u{200F}", "\u{2028}",
            "\u{202A}", "\u{202E}", "\u{2066}", "\u{2069}", "\u{FEFF}",
        ] as [Unicode.Scalar]
    )
    func escapes(scalar: Unicode.Scalar) {
        #expect(UnsafeText.mustEscape(scalar))
        let text = "a\(scalar)b"
        let record = AuditRecord(action: .drain, who: text, target: text, outcome: .ok, detail: text)
        let line = String(decoding: record.line(unixMilliseconds: 0), as: UTF8.self)
        #expect(!line.dropLast().unicodeScalars.contains(scalar))
        let hex = String(scalar.value, radix: 16)
        let escape = "\\u" + String(repeating: "0", count: 4 - hex.utf8.count) + hex
        #expect(line.split(separator: "a\(escape)b", omittingEmptySubsequences: false).count == 4, "\(line)")
    }

    @Test("All other text stands as it is, quotes and backslashes apart")
    func plain() {
        for scalar in "\u{A0}é\u{200D}—\u{202F}\u{2065}😀".unicodeScalars { #expect(!UnsafeText.mustEscape(scalar)) }
        let record = AuditRecord(action: .drain, who: "y", target: "é \"\\ 😀\n", outcome: .refused)
        let line = String(decoding: record.line(unixMilliseconds: 1), as: UTF8.self)
        #expect(
            line == """
                {"time":"1970-01-01T00:00:00.001Z","audit":"drain","who":"y","target":"é \\"\\\\ 😀\\u000a",\
                "outcome":"refused","detail":""}

                """
        )
    }
}
