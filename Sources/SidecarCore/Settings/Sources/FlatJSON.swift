/// Reads the JSON (RFC 8259) that flat settings need: one object of strings, numbers, booleans and lists of them.
///
/// Numbers and booleans keep their text, since each setting reads its own. Reading stops at the first fault.
struct FlatJSON {
    private var reader: JSONReader
    private var document = FlatDocument()

    /// - Parameter bytes: Valid UTF-8.
    static func read(_ bytes: ArraySlice<UInt8>) -> FlatDocument {
        bytes.withUnsafeBytes { bytes in
            var file = FlatJSON(reader: JSONReader(bytes))
            do throws(JSONReader.Fault) {
                try file.object()
            } catch {
                let problem = error.sentence.hasSuffix(".") ? String(error.sentence.dropLast()) : error.sentence
                file.document.faults.append(
                    FlatDocument.Fault(
                        line: file.reader.line(),
                        problem: problem,
                        accepted: "a JSON object of strings, numbers, booleans and lists of them"
                    )
                )
            }
            return file.document
        }
    }

    private mutating func object() throws(JSONReader.Fault) {
        try reader.expect("{")
        if !reader.take("}") {
            repeat {
                let line = reader.line()
                let key = try reader.name()
                document.entries.append(.init(key: key, value: try value(), line: line))
            } while reader.take(",")
            guard reader.take("}") else { throw .init(sentence: "a comma or the closing } is missing") }
        }
        guard reader.isAtEnd() else { throw .init(sentence: "there is text after the closing }") }
    }

    private mutating func value() throws(JSONReader.Fault) -> FlatDocument.Value {
        guard reader.take("[") else { return .scalar(try scalar()) }
        if reader.take("]") { return .list([]) }
        var items: [String] = []
        repeat { items.append(try scalar()) } while reader.take(",")
        guard reader.take("]") else { throw .init(sentence: "a comma or the closing ] is missing") }
        return .list(items)
    }

    private mutating func scalar() throws(JSONReader.Fault) -> String {
        if let number = try reader.numberText() { return number }
        if reader.takeWord("true") { return "true" }
        if reader.takeWord("false") { return "false" }
        if reader.takeWord("null") {
            throw .init(sentence: "null is not a value; leave the key out for the default")
        }
        if reader.take("{") || reader.take("[") {
            throw .init(sentence: "a value is nested; settings are one level deep")
        }
        return try reader.string()
    }
}
