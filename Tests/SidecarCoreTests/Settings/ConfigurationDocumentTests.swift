import FoundationEssentials
import Testing

@testable import SidecarCore

/// `docs/configuration.md` is written by hand for people; this keeps it true.
@Suite("The configuration's documentation")
struct ConfigurationDocumentTests {
    private struct Row: Equatable {
        var group: String
        var variable: String
        var defaultText: String
    }

    private let document: String

    init() throws {
        var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast(4)
        let path = parts.joined(separator: "/") + "/docs/configuration.md"
        let data = try #require(FileManager.default.contents(atPath: path), "no \(path)")
        document = String(decoding: data, as: UTF8.self)
    }

    private var lines: [Substring] { document.split(separator: "\n", omittingEmptySubsequences: false) }

    private var rows: [Row] {
        var group = ""
        var rows: [Row] = []
        for line in lines {
            if line.hasPrefix("## ") { group = String(line.dropFirst(3)) }
            guard line.hasPrefix("| `SIDESOCKET_") else { continue }
            let cells = line.split(separator: "|").map { cell in cell.filter { $0 != "`" } }
            guard cells.count >= 3 else { continue }
            rows.append(Row(group: group, variable: trimmed(cells[0]), defaultText: trimmed(cells[1])))
        }
        return rows
    }

    private func trimmed(_ cell: String) -> String {
        var cell = cell.drop { $0 == " " }
        while cell.last == " " { cell.removeLast() }
        return String(cell)
    }

    @Test("has every variable once, in the registry's order and group, with its default")
    func tables() {
        let expected = SettingsRegistry.standard.definitions.map {
            Row(group: $0.group.rawValue, variable: $0.environmentName, defaultText: $0.defaultText)
        }
        #expect(rows == expected)
    }

    @Test("says off exactly where off is taken")
    func off() {
        for definition in SettingsRegistry.standard.definitions {
            let row = lines.first { $0.hasPrefix("| `\(definition.environmentName)`") }
            #expect(row?.contains("or `off`") == definition.accepted.contains("or off"), "\(definition.name)")
        }
    }

    @Test("names no variable that is not there")
    func names() {
        let allowed = Set(SettingsRegistry.standard.definitions.map(\.environmentName))
            .union(["SIDESOCKET_", "SIDESOCKET_SERVICE_HOST", "SIDESOCKET_SERVICE_PORT", "SIDESOCKET_PORT"])
            .union(["SIDESOCKET_LISTEM"])
        let words = document.split { !($0.isLetter || $0.isNumber || $0 == "_") }
        for word in words where word.hasPrefix("SIDESOCKET_") { #expect(allowed.contains(String(word))) }
    }

    @Test("shows files that are read without a fault", arguments: ["yaml", "json"])
    func examples(language: String) throws {
        let start = try #require(lines.firstIndex(of: "```\(language)"))
        let example = lines[(start + 1)...].prefix { $0 != "```" }.joined(separator: "\n")
        var raw = RawSettings()
        raw.add(file: Array(example.utf8), path: "example")
        #expect(raw.values.count >= 4)
        #expect(throws: Never.self) { try Settings.parse(raw).get() }
    }
}
