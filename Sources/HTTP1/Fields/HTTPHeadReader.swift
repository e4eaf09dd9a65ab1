internal import NIOCore

/// Gathers a head line by line, for requests and replies alike.
struct HTTPHeadReader<StartLine: HTTPStartLine>: Sendable {
    /// The first line, once it has come.
    private(set) var startLine: StartLine?

    /// What the fields read so far say of the framing.
    private(set) var framingFields = HTTPFramingFields()

    private var section = HTTPFieldSection()

    /// Reads the lines that have arrived; returns the first line once the blank line at the end was one of them.
    ///
    /// The head stays at the reader index until ``finish(_:)``.
    mutating func read(_ buffer: ByteBuffer, limits: HTTPLimits) throws(HTTPParseError) -> StartLine? {
        let bytes = buffer.readableBytesUInt8Span
        if startLine == nil {
            guard let line = try firstLine(in: bytes, cap: limits.maxHeadBytes) else { return nil }
            startLine = try StartLine(line, in: bytes)
        }
        while let line = try section.nextLine(in: bytes, cap: limits.maxHeadBytes) {
            if line.isEmpty { return startLine }
            let field = try section.addField(line, in: bytes, maxFields: limits.maxHeaders)
            framingFields.note(field, in: bytes)
        }
        return nil
    }

    /// Takes the complete head off the buffer and starts over for the next one.
    mutating func finish(_ buffer: inout ByteBuffer) -> HTTPHeaders {
        startLine = nil
        framingFields = HTTPFramingFields()
        return section.finish(&buffer)
    }

    private mutating func firstLine(in bytes: Span<UInt8>, cap: Int) throws(HTTPParseError) -> Range<Int>? {
        do {
            return try section.nextLine(in: bytes, cap: cap)
        } catch {
            throw error == .headTooLarge ? StartLine.tooLong : error
        }
    }
}
