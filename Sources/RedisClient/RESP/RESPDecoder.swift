public import NIOCore

/// Reads replies from the bytes of a connection, however they are cut (RESP3).
///
/// ``next(_:)`` takes what it can use off the input and remembers what is begun, so the work is proportional to the
/// bytes. Nothing is allocated because of a length that was only announced. After a fault it throws the same again.
public struct RESPDecoder: Sendable {
    private enum Phase {
        /// The first byte of a value.
        case type
        /// The rest of the line of a value of this type.
        case line(RESPType)
        /// The bytes of a string, and the line end behind them.
        case string(RESPType, length: Int)
    }

    private let limits: RESPLimits
    private var phase = Phase.type
    private var failure: RESPFault?
    /// What has come of a line or a string whose end has not.
    private var partial = ByteBuffer()
    private var open: [RESPAggregate] = []
    private var bytesUsed = 0
    private var elementsUsed = 0

    /// A decoder for a new connection.
    public init(limits: RESPLimits) {
        self.limits = limits
    }

    /// True when a reply has begun and not ended.
    public var isInsideReply: Bool { bytesUsed > 0 }

    /// The next whole reply, or nil when more bytes are needed; then all of the input has been taken.
    ///
    /// - Throws: What is wrong with the bytes; the connection has no use any more.
    public mutating func next(_ input: inout ByteBuffer) throws(RESPFault) -> RESPValue? {
        if let failure { throw failure }
        do {
            return try advance(&input)
        } catch {
            failure = error
            partial = ByteBuffer()
            open = []
            throw error
        }
    }

    private mutating func advance(_ input: inout ByteBuffer) throws(RESPFault) -> RESPValue? {
        while true {
            switch phase {
            case .type:
                guard let byte = input.readInteger(as: UInt8.self) else { return nil }
                guard let type = RESPType(rawValue: byte) else { throw .unknownType(byte) }
                if type == .push, !open.isEmpty { throw .nestedPush }
                try use(1)
                phase = .line(type)
            case .line(let type):
                // Lines that are there as a whole are by far the most, and those of numbers need no buffer of their own.
                let value: RESPValue?
                if partial.readableBytes == 0, !type.isText, let end = try wholeLine(input, limit: type.maxLine) {
                    value = try begin(type, input.readableBytesUInt8Span.extracting(0..<end - 2), nil)
                    input.moveReaderIndex(forwardBy: end)
                } else {
                    guard let line = try takeLine(&input, limit: type.maxLine) else { return nil }
                    value = try begin(type, line.readableBytesUInt8Span, line)
                }
                if let value, let reply = place(value) { return reply }
            case .string(let type, let length):
                guard let bytes = try takeString(&input, length: length) else { return nil }
                if let reply = place(try Self.string(type, bytes)) { return reply }
            }
        }
    }

    private mutating func use(_ count: Int) throws(RESPFault) {
        // Both are at most what has arrived, or a length that is checked before.
        bytesUsed += count
        if bytesUsed > limits.maxBytes { throw .tooLarge }
    }

    // MARK: Lines and strings

    /// How many bytes there are up to and with CR LF; nil when the end has not arrived.
    private mutating func wholeLine(_ input: ByteBuffer, limit: Int) throws(RESPFault) -> Int? {
        guard let end = try lineEnd(input.readableBytesUInt8Span, limit: limit) else { return nil }
        try use(end)
        return end
    }

    /// Takes the bytes up to CR LF; nil when the end has not arrived, and what has is kept.
    private mutating func takeLine(_ input: inout ByteBuffer, limit: Int) throws(RESPFault) -> ByteBuffer? {
        let available = input.readableBytes
        guard available > 0 else { return nil }
        let found = try lineEnd(input.readableBytesUInt8Span, limit: limit)
        let taken = found ?? available
        try use(taken)
        guard var line = input.readSlice(length: taken) else { return nil }
        if found == nil || partial.readableBytes > 0 { partial.writeBuffer(&line) }
        guard found != nil else { return nil }
        if partial.readableBytes > 0 {
            line = partial
            partial = ByteBuffer()
        }
        line.moveWriterIndex(to: line.writerIndex - 2)
        return line
    }

    /// How many bytes there are up to and with the first line end, behind what has come before; nil without one.
    ///
    /// The first byte that is wrong decides, so that it does not matter how the bytes are cut.
    ///
    /// - Parameter limit: The longest line in bytes, without CR LF.
    private func lineEnd(_ bytes: Span<UInt8>, limit: Int) throws(RESPFault) -> Int? {
        let room = limit + 2 - partial.readableBytes
        let budget = limits.maxBytes - bytesUsed
        var afterReturn = partial.readableBytesView.last == 0x0D
        for index in 0..<max(0, min(bytes.count, room, budget)) {
            let byte = bytes[index]
            if afterReturn {
                guard byte == 0x0A else { throw .badLine }
                return index + 1
            }
            if byte == 0x0A { throw .badLine }
            afterReturn = byte == 0x0D
        }
        if bytes.count >= room, room <= budget { throw .lineTooLong }
        if bytes.count > budget { throw .tooLarge }
        return nil
    }

    private mutating func takeString(_ input: inout ByteBuffer, length: Int) throws(RESPFault) -> ByteBuffer? {
        // `begin` has made sure that this does not overflow.
        if partial.readableBytes == 0, input.readableBytes >= length + 2 {
            guard input.getInteger(at: input.readerIndex + length, as: UInt16.self) == 0x0D0A else { throw .badEnd }
            let bytes = input.readSlice(length: length)
            input.moveReaderIndex(forwardBy: 2)
            return bytes
        }
        let wanted = length + 2 - partial.readableBytes
        let taken = min(wanted, input.readableBytes)
        guard var bytes = input.readSlice(length: taken) else { return nil }
        if taken < wanted || partial.readableBytes > 0 { partial.writeBuffer(&bytes) }
        guard taken == wanted else { return nil }
        if partial.readableBytes > 0 {
            bytes = partial
            partial = ByteBuffer()
        }
        guard bytes.getInteger(at: bytes.writerIndex - 2, as: UInt16.self) == 0x0D0A else { throw .badEnd }
        bytes.moveWriterIndex(to: bytes.writerIndex - 2)
        return bytes
    }

    private static func string(_ type: RESPType, _ bytes: ByteBuffer) throws(RESPFault) -> RESPValue {
        switch type {
        case .blobError: return .error(RedisErrorReply(String(buffer: bytes)))
        case .verbatim:
            var bytes = bytes
            guard let format = bytes.readString(length: 3), bytes.readInteger(as: UInt8.self) == UInt8(ascii: ":")
            else {
                throw .badVerbatim
            }
            return .verbatim(format: format, bytes)
        default: return .bulk(bytes)
        }
    }

    // MARK: Values

    /// Reads the line of a value; nil when more belongs to the value than its line.
    ///
    /// - Parameter line: The same bytes, for types whose value is a text.
    private mutating func begin(
        _ type: RESPType,
        _ bytes: Span<UInt8>,
        _ line: ByteBuffer?
    ) throws(RESPFault) -> RESPValue? {
        let range = 0..<bytes.count
        switch type {
        case .simple: return line.map { .simple($0) }
        case .error: return line.map { .error(RedisErrorReply(String(buffer: $0))) }
        case .integer:
            guard let number = RESPNumber.integer(bytes, range) else { throw .badNumber }
            return .integer(number)
        case .double:
            guard let number = RESPNumber.double(bytes, range) else { throw .badNumber }
            return .double(number)
        case .bigNumber:
            guard RESPNumber.isWhole(bytes, range) else { throw .badNumber }
            return line.map { .bigNumber($0) }
        case .null:
            guard range.isEmpty else { throw .badConstant }
            return .null
        case .boolean:
            guard range.count == 1 else { throw .badConstant }
            switch bytes[0] {
            case UInt8(ascii: "t"): return .boolean(true)
            case UInt8(ascii: "f"): return .boolean(false)
            default: throw .badConstant
            }
        case .bulk, .blobError, .verbatim:
            guard let length = try Self.length(bytes, allowsNull: type == .bulk) else { return .null }
            let (end, overflows) = length.addingReportingOverflow(2)
            if overflows || end > limits.maxBytes - bytesUsed { throw .tooLarge }
            try use(end)
            phase = .string(type, length: length)
            return nil
        case .array, .set, .map, .push, .attribute:
            guard let count = try Self.length(bytes, allowsNull: type == .array) else { return .null }
            return try beginAggregate(type, count: count)
        }
    }

    private mutating func beginAggregate(_ type: RESPType, count: Int) throws(RESPFault) -> RESPValue? {
        let (elements, overflows) = count.multipliedReportingOverflow(by: type.elementsPerEntry)
        if overflows || elements > limits.maxElements - elementsUsed { throw .tooManyElements }
        elementsUsed += elements
        guard open.count < limits.maxDepth else { throw .tooDeep }
        let aggregate = RESPAggregate(type: type, count: elements)
        phase = .type
        guard elements == 0 else {
            open.append(aggregate)
            return nil
        }
        return aggregate.value
    }

    /// A length or a count; nil for the null of RESP2.
    private static func length(_ bytes: Span<UInt8>, allowsNull: Bool) throws(RESPFault) -> Int? {
        guard bytes.count > 0 else { throw .badLength }
        if bytes[0] == UInt8(ascii: "?") { throw .streamed }
        if bytes[0] == UInt8(ascii: "+") { throw .badLength }
        guard let number = RESPNumber.integer(bytes, 0..<bytes.count) else { throw .badLength }
        if number == -1, allowsNull, bytes.count == 2 { return nil }
        guard number >= 0, bytes[0] != UInt8(ascii: "-"), let length = Int(exactly: number) else { throw .badLength }
        return length
    }

    /// Puts a value where it belongs, and returns the reply when that completes it.
    private mutating func place(_ value: RESPValue) -> RESPValue? {
        phase = .type
        var value = value
        while !open.isEmpty {
            open[open.count - 1].append(value)
            guard open[open.count - 1].isComplete, let whole = open.popLast() else { return nil }
            // An attribute says something about the value behind it, which still has to come; we have no use for any.
            guard let finished = whole.value else { return nil }
            value = finished
        }
        bytesUsed = 0
        elementsUsed = 0
        return value
    }
}
