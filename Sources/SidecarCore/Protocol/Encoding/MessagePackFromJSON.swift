import NIOCore

/// Converts JSON to MessagePack.
///
/// It does not recurse. The length of an array or object is known only at its end, so their heads have the longest form.
enum MessagePackFromJSON {
    /// An array or object that has not ended: where its head is, and how many elements or members it has so far.
    private struct Open {
        let head: Int
        let isObject: Bool
        var count: UInt32 = 0
    }

    /// Writes the text as a value; false, with nothing written, when it is not JSON or has no equivalent: a number out of
    /// range, half a surrogate pair, too deep.
    static func write(_ json: ByteBuffer, into buffer: inout ByteBuffer) -> Bool {
        let start = buffer.writerIndex
        let isWritten = json.withUnsafeReadableBytes { bytes in
            var reader = JSONReader(bytes)
            return (try? convert(&reader, into: &buffer)) != nil && reader.isAtEnd()
        }
        if !isWritten { buffer.moveWriterIndex(to: start) }
        return isWritten
    }

    private static func convert(_ reader: inout JSONReader, into buffer: inout ByteBuffer) throws(JSONReader.Fault) {
        var open: [Open] = []
        repeat {
            let isObject = reader.take("{")
            if isObject || reader.take("[") {
                guard open.count < FrameWriter.maxDepth else { throw .tooDeep }
                let head = buffer.writerIndex
                buffer.writeMultipleIntegers(isObject ? 0xDF : 0xDD as UInt8, 0 as UInt32)
                if !reader.take(isObject ? "}" : "]") {
                    if isObject { buffer.writeMessagePack(try reader.name()) }
                    open.append(Open(head: head, isObject: isObject))
                    continue
                }
            } else {
                try convertScalar(&reader, into: &buffer)
            }
            // A value is complete; what follows belongs to the arrays and objects around it.
            while let last = open.indices.last {
                open[last].count += 1
                if reader.take(",") {
                    if open[last].isObject { buffer.writeMessagePack(try reader.name()) }
                    break
                }
                try reader.expect(open[last].isObject ? "}" : "]")
                buffer.setInteger(open[last].count, at: open[last].head + 1)
                open.removeLast()
            }
        } while !open.isEmpty
    }

    private static func convertScalar(
        _ reader: inout JSONReader,
        into buffer: inout ByteBuffer
    ) throws(JSONReader.Fault) {
        if reader.takeWord("null") { return buffer.writeMessagePackNil() }
        if reader.takeWord("true") { return buffer.writeMessagePack(true) }
        if reader.takeWord("false") { return buffer.writeMessagePack(false) }
        guard let number = try reader.numberText() else { return buffer.writeMessagePack(try reader.string()) }
        if let number = Int64(number) {
            buffer.writeMessagePack(number)
        } else if let number = UInt64(number) {
            buffer.writeMessagePack(number)
        } else {
            guard let number = Double(number), number.isFinite else { throw .malformed }
            buffer.writeMessagePack(number)
        }
    }
}
