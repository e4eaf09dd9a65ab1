import NIOCore

/// Writes one frame to a client of the protocol, in its encoding.
///
/// The members of a frame itself are counted as they are written, and are at most 15.
struct FrameWriter {
    /// How deep the JSON of the app may be nested to be embedded as it is.
    static let maxDepth = 512

    let encoding: ProtocolEncoding
    private(set) var buffer: ByteBuffer
    private let start: Int
    private var members: UInt8 = 0
    private var needsComma = false

    /// Begins a frame behind what is in the buffer.
    init(_ encoding: ProtocolEncoding, into buffer: ByteBuffer) {
        self.encoding = encoding
        self.buffer = buffer
        start = buffer.writerIndex
        switch encoding {
        case .json: self.buffer.writeStaticString("{")
        case .messagePack: self.buffer.writeInteger(0x80 as UInt8)
        }
    }

    /// Ends the frame.
    consuming func finish() -> ByteBuffer {
        switch encoding {
        case .json: buffer.writeStaticString("}")
        case .messagePack: buffer.setInteger(0x80 | min(members, 15), at: start)
        }
        return buffer
    }

    // MARK: Members

    private mutating func name(_ name: StaticString) {
        members += 1
        switch encoding {
        case .json:
            buffer.writeStaticString(needsComma ? ",\"" : "\"")
            buffer.writeStaticString(name)
            buffer.writeStaticString("\":")
            needsComma = true
        case .messagePack:
            buffer.writeInteger(0xA0 | UInt8(truncatingIfNeeded: name.utf8CodeUnitCount))
            buffer.writeStaticString(name)
        }
    }

    mutating func write(_ name: StaticString, _ text: String) {
        self.name(name)
        value(text)
    }

    mutating func write(_ name: StaticString, _ number: UInt64) {
        self.name(name)
        value(number)
    }

    mutating func write(_ name: StaticString, _ number: Int64) { write(name, UInt64(clamping: number)) }

    mutating func write(_ name: StaticString, _ flag: Bool) {
        self.name(name)
        switch encoding {
        case .json: buffer.writeStaticString(flag ? "true" : "false")
        case .messagePack: buffer.writeMessagePack(flag)
        }
    }

    mutating func write(_ name: StaticString, _ texts: [String]) {
        self.name(name)
        switch encoding {
        case .json:
            buffer.writeStaticString("[")
            for (index, text) in texts.enumerated() {
                if index > 0 { buffer.writeStaticString(",") }
                buffer.writeJSONString(text)
            }
            buffer.writeStaticString("]")
        case .messagePack:
            buffer.writeMessagePackArray(count: texts.count)
            for text in texts { buffer.writeMessagePack(text) }
        }
    }

    /// A member whose value is a map from names that are not fixed; each of its values is a map too, of at most 15
    /// members.
    mutating func write<Value>(
        _ name: StaticString,
        _ values: [(name: String, value: Value)],
        _ body: (Value, inout FrameWriter) -> Void
    ) {
        self.name(name)
        switch encoding {
        case .json: buffer.writeStaticString("{")
        case .messagePack: buffer.writeMessagePackMap(count: values.count)
        }
        for (index, entry) in values.enumerated() {
            switch encoding {
            case .json:
                if index > 0 { buffer.writeStaticString(",") }
                buffer.writeJSONString(entry.name)
                buffer.writeStaticString(":")
            case .messagePack: buffer.writeMessagePack(entry.name)
            }
            var writer = FrameWriter(encoding, into: takeBuffer())
            body(entry.value, &writer)
            buffer = writer.finish()
        }
        if encoding == .json { buffer.writeStaticString("}") }
    }

    /// Takes the buffer away for a while, so that writing to it does not copy it.
    private mutating func takeBuffer() -> ByteBuffer {
        let taken = buffer
        buffer = ByteBuffer()
        return taken
    }

    private mutating func value(_ text: String) {
        switch encoding {
        case .json: buffer.writeJSONString(text)
        case .messagePack: buffer.writeMessagePack(text)
        }
    }

    private mutating func value(_ number: UInt64) {
        switch encoding {
        case .json: buffer.writeDecimal(number)
        case .messagePack: buffer.writeMessagePack(number)
        }
    }

    // MARK: The payload

    /// A payload of the app's: data of the encoding's own kind is embedded byte for byte, text is a string, and what only
    /// the other encoding can express is converted, or is bytes.
    mutating func write(payload: ByteBuffer, _ format: MessageFormat) {
        name("payload")
        switch (encoding, format) {
        case (.json, .json): if !embedJSON(payload) { buffer.writeJSONString(payload) }
        case (.json, .text): buffer.writeJSONString(payload)
        case (.json, .binary), (.json, .messagePack):
            buffer.writeStaticString("{\"base64\":\"")
            Base64.write(payload, into: &buffer)
            buffer.writeStaticString("\"}")
        case (.messagePack, .json): if !MessagePackFromJSON.write(payload, into: &buffer) { string(payload) }
        case (.messagePack, .text): string(payload)
        case (.messagePack, .binary): buffer.writeMessagePack(bytes: payload)
        case (.messagePack, .messagePack): if !embedMessagePack(payload) { buffer.writeMessagePack(bytes: payload) }
        }
    }

    /// A payload of another client, which may use the other encoding.
    mutating func write(clientPayload payload: ByteBuffer, _ format: MessageFormat) {
        guard encoding == .json, format == .messagePack else { return write(payload: payload, format) }
        name("payload")
        if !JSONFromMessagePack.write(payload, into: &buffer) {
            buffer.writeStaticString("{\"base64\":\"")
            Base64.write(payload, into: &buffer)
            buffer.writeStaticString("\"}")
        }
    }

    private mutating func string(_ text: ByteBuffer) {
        text.withUnsafeReadableBytes { buffer.writeMessagePack(text: $0) }
    }

    /// Whether it is one whole value; embedded otherwise, it would break the frame.
    private mutating func embedJSON(_ payload: ByteBuffer) -> Bool {
        let range: Range<Int>? = payload.withUnsafeReadableBytes { bytes in
            var reader = JSONReader(bytes)
            let range = try? reader.valueRange(maxDepth: Self.maxDepth)
            return reader.isAtEnd() ? range : nil
        }
        // Without white space around it, and without a byte order mark.
        guard let range, let value = payload.getSlice(at: payload.readerIndex + range.lowerBound, length: range.count)
        else { return false }
        buffer.writeImmutableBuffer(value)
        return true
    }

    private mutating func embedMessagePack(_ payload: ByteBuffer) -> Bool {
        let isWhole = payload.withUnsafeReadableBytes { bytes in
            var reader = MessagePackReader(bytes)
            return (try? reader.valueRange(maxDepth: Self.maxDepth)) != nil && reader.isAtEnd
        }
        if isWhole { buffer.writeImmutableBuffer(payload) }
        return isWhole
    }
}
