/// Reads the part of YAML 1.2 that flat settings need, line by line, and refuses the rest with its line number.
///
/// Accepted: `key: value` at the start of a line; plain, 'single' and "double" quoted scalars on one line; lists in
/// brackets on one line, or as `- item` lines; comments; one `---` at the top. Anything that YAML would read otherwise
/// (nesting, anchors, tags, block scalars, several lines, several documents) is a fault. Scalars keep
/// their text: `off` stays `off`.
struct FlatYAML {
    /// The key that `- item` lines may belong to.
    private enum OpenKey {
        case none
        /// After a faulty line: its items are not reported as well.
        case faulty
        case list(key: String, line: Int, indent: Int?, items: [String])
    }

    private var document = FlatDocument()
    private var open = OpenKey.none
    private var hasStarted = false

    static func read(_ bytes: ArraySlice<UInt8>) -> FlatDocument {
        var reader = FlatYAML()
        var number = 0
        for line in bytes.split(separator: 0x0A, omittingEmptySubsequences: false) {
            number += 1
            do throws(YAMLProblem) {
                try reader.read(YAMLLine(line.last == 0x0D ? line.dropLast() : line), number)
            } catch {
                reader.open = .faulty
                reader.fault(number, error.message)
            }
            // A file of another kind would otherwise give a fault for each of its lines.
            if reader.document.faults.count >= 20 { return reader.document }
        }
        reader.closeKey()
        return reader.document
    }

    private mutating func read(_ line: YAMLLine, _ number: Int) throws(YAMLProblem) {
        var line = line
        let indent = line.skipSpaces()
        guard !line.isBlankOrComment else { return }
        if line.hasControlCharacter { throw YAMLProblem("has a control character") }
        if line.startsWithTab { throw YAMLProblem("is indented with a tab; YAML takes spaces") }
        if indent == 0, line.takeMarker("---") {
            guard !hasStarted, line.isBlankOrComment else { throw YAMLProblem("starts a second document") }
            hasStarted = true
            return
        }
        hasStarted = true
        if line.takeMarker("-") { return try item(&line, indent) }
        closeKey()
        open = .none
        guard indent == 0 else { throw YAMLProblem("is indented; settings are one level deep, each on its own line") }
        let key = try line.key()
        if line.isBlankOrComment {
            open = .list(key: key, line: number, indent: nil, items: [])
            return
        }
        let value: FlatDocument.Value = line.takesBracket() ? .list(try line.flowItems()) : .scalar(try line.scalar())
        try line.end()
        document.entries.append(.init(key: key, value: value, line: number))
    }

    private mutating func item(_ line: inout YAMLLine, _ indent: Int) throws(YAMLProblem) {
        switch open {
        case .faulty:
            return
        case .none:
            throw YAMLProblem("is a list item that belongs to no key")
        case .list(let key, let keyLine, let listIndent, var items):
            guard listIndent == nil || listIndent == indent else {
                throw YAMLProblem("is not indented as the list item before it")
            }
            guard !line.isBlankOrComment else { throw YAMLProblem("is a list item without a value") }
            if line.takesBracket() {
                throw YAMLProblem("has a list in a list; put an address such as [::]:80 in quotes")
            }
            items.append(try line.scalar())
            try line.end()
            open = .list(key: key, line: keyLine, indent: indent, items: items)
        }
    }

    private mutating func closeKey() {
        guard case .list(let key, let line, _, let items) = open else { return }
        if items.isEmpty {
            fault(line, "has a key without a value; leave the key out for the default")
        } else {
            document.entries.append(.init(key: key, value: .list(items), line: line))
        }
    }

    private mutating func fault(_ line: Int, _ problem: String) {
        document.faults.append(
            .init(line: line, problem: problem, accepted: "lines such as key: value or key: [one, two]")
        )
    }
}

/// Why a line is not accepted by ``FlatYAML``; words that follow its number.
struct YAMLProblem: Error {
    let message: String

    init(_ message: String) {
        self.message = message
    }
}
