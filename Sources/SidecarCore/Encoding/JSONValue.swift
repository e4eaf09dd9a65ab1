import NIOCore

/// Any JSON value (RFC 8259), for input without a fixed schema: tokens and key sets.
package enum JSONValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    /// How deep arrays and objects may be nested.
    static let maxDepth = 32

    /// The longest name of a member, in bytes: comparing unlimited names can cost quadratic time.
    static let maxNameBytes = 256

    /// Reads a whole text; nil when it is not JSON, is too deep, or has an object with two members of one name, since
    /// readers differ on which of them counts.
    package init?(_ bytes: [UInt8]) {
        guard (try? UTF8Span(validating: bytes.span)) != nil else { return nil }
        let value: JSONValue? = bytes.withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            guard let value = try? reader.value(depth: Self.maxDepth), reader.isAtEnd() else { return nil }
            return value
        }
        guard let value else { return nil }
        self = value
    }

    /// The text of a string.
    package var string: String? {
        if case .string(let text) = self { return text }
        return nil
    }

    /// The members of an object.
    package var object: [String: JSONValue]? {
        if case .object(let members) = self { return members }
        return nil
    }

    /// The values of an array.
    package var array: [JSONValue]? {
        if case .array(let values) = self { return values }
        return nil
    }

    /// As JSON again, with members ordered by name.
    package var json: String {
        var buffer = ByteBuffer()
        write(into: &buffer)
        return String(buffer: buffer)
    }

    private func write(into buffer: inout ByteBuffer) {
        switch self {
        case .null: buffer.writeStaticString("null")
        case .bool(let flag): buffer.writeString(flag ? "true" : "false")
        case .integer(let number): buffer.writeString("\(number)")
        case .number(let number): buffer.writeString("\(number)")
        case .string(let text): buffer.writeJSONString(text)
        case .array(let values):
            buffer.writeStaticString("[")
            for (index, value) in values.enumerated() {
                if index > 0 { buffer.writeStaticString(",") }
                value.write(into: &buffer)
            }
            buffer.writeStaticString("]")
        case .object(let members):
            buffer.writeStaticString("{")
            for (index, member) in members.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { buffer.writeStaticString(",") }
                buffer.writeJSONString(member.key)
                buffer.writeStaticString(":")
                member.value.write(into: &buffer)
            }
            buffer.writeStaticString("}")
        }
    }
}

extension JSONReader {
    /// Takes any value; recursion is bounded by the depth.
    mutating func value(depth: Int) throws(Fault) -> JSONValue {
        guard depth > 0 else { throw .tooDeep }
        if takeWord("null") { return .null }
        if takeWord("true") { return .bool(true) }
        if takeWord("false") { return .bool(false) }
        if take("[") {
            var values: [JSONValue] = []
            if take("]") { return .array(values) }
            repeat { values.append(try value(depth: depth - 1)) } while take(",")
            try expect("]")
            return .array(values)
        }
        if take("{") {
            var members: [String: JSONValue] = [:]
            if take("}") { return .object(members) }
            repeat {
                let name = try name()
                guard name.utf8.count <= JSONValue.maxNameBytes else { throw .longName }
                guard members.updateValue(try value(depth: depth - 1), forKey: name) == nil else {
                    throw Fault(sentence: "a member appears twice.")
                }
            } while take(",")
            try expect("}")
            return .object(members)
        }
        if let number = try number() { return number }
        return .string(try string())
    }
}
