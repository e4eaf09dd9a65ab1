import NIOCore

/// Converts MessagePack to JSON; bytes become `{"base64":"…"}`.
enum JSONFromMessagePack {
    private struct HasNoEquivalent: Error {}

    /// Writes one value; false, with nothing written, when it is not one or has no equivalent: an extension, a name that
    /// is no string, text that is not UTF-8, a number that is not finite, or too deep.
    static func write(_ value: ByteBuffer, into buffer: inout ByteBuffer) -> Bool {
        let start = buffer.writerIndex
        let isWritten = value.withUnsafeReadableBytes { bytes in
            var reader = MessagePackReader(bytes)
            return (try? convert(&reader, depth: ClientFrame.maxDepth, into: &buffer)) != nil && reader.isAtEnd
        }
        if !isWritten { buffer.moveWriterIndex(to: start) }
        return isWritten
    }

    /// Recursion is bounded by the depth.
    private static func convert(
        _ reader: inout MessagePackReader,
        depth: Int,
        into buffer: inout ByteBuffer
    ) throws {
        switch try reader.item() {
        case .null: buffer.writeStaticString("null")
        case .bool(let flag): buffer.writeStaticString(flag ? "true" : "false")
        case .unsigned(let number): buffer.writeDecimal(number)
        case .negative(let number): buffer.writeString("\(number)")
        case .double(let number):
            guard number.isFinite else { throw HasNoEquivalent() }
            buffer.writeString("\(number)")
        case .text(let text):
            guard String(validating: text, as: UTF8.self) != nil else { throw HasNoEquivalent() }
            buffer.writeJSONString(text)
        case .bytes(let bytes):
            buffer.writeStaticString("{\"base64\":\"")
            Base64.write(ByteBuffer(bytes: bytes), into: &buffer)
            buffer.writeStaticString("\"}")
        case .extended: throw HasNoEquivalent()
        case .array(let count):
            guard depth > 0 else { throw HasNoEquivalent() }
            buffer.writeStaticString("[")
            for index in 0..<count {
                if index > 0 { buffer.writeStaticString(",") }
                try convert(&reader, depth: depth - 1, into: &buffer)
            }
            buffer.writeStaticString("]")
        case .map(let count):
            guard depth > 0 else { throw HasNoEquivalent() }
            buffer.writeStaticString("{")
            for index in 0..<count {
                if index > 0 { buffer.writeStaticString(",") }
                guard case .text(let name) = try reader.item(), String(validating: name, as: UTF8.self) != nil else {
                    throw HasNoEquivalent()
                }
                buffer.writeJSONString(name)
                buffer.writeStaticString(":")
                try convert(&reader, depth: depth - 1, into: &buffer)
            }
            buffer.writeStaticString("}")
        }
    }
}
