public import NIOCore

extension CloseReport {
    /// Reads what ``json`` has written; nil for anything else.
    public init?(json body: ByteBuffer) {
        guard body.isValidUTF8 else { return nil }
        let report: CloseReport? = body.withUnsafeReadableBytes { bytes in
            var reader = JSONReader(bytes)
            return try? CloseReport(from: &reader)
        }
        guard let report else { return nil }
        self = report
    }

    private init(from reader: inout JSONReader) throws(JSONReader.Fault) {
        func member(_ name: String) throws(JSONReader.Fault) {
            guard try reader.name() == name else { throw .malformed }
        }
        func count() throws(JSONReader.Fault) -> Int {
            let number = try reader.integer()
            guard number >= 0 else { throw .malformed }
            return number
        }
        try reader.expect("{")
        try member("code")
        let code = try reader.integer()
        try reader.expect(",")
        try member("reason")
        let reason = try reader.string()
        try reader.expect(",")
        try member("initiator")
        guard let initiator = CloseInitiator(rawValue: try reader.string()) else { throw .malformed }
        try reader.expect(",")
        try member("messagesIn")
        let messagesIn = try count()
        try reader.expect(",")
        try member("messagesOut")
        let messagesOut = try count()
        try reader.expect(",")
        try member("durationMs")
        let duration = try count()
        try reader.expect("}")
        guard let code = UInt16(exactly: code), reader.isAtEnd() else { throw .malformed }
        self.init(
            code: SessionCloseCode(rawValue: code),
            reason: reason,
            initiator: initiator,
            messagesIn: messagesIn,
            messagesOut: messagesOut,
            durationMilliseconds: Int64(duration)
        )
    }

    /// The body of the `close` event; without counts for a connection of a lost node.
    public var json: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeStaticString("{\"code\":")
        buffer.writeDecimal(UInt64(code.rawValue))
        buffer.writeStaticString(",\"reason\":")
        buffer.writeJSONString(reason)
        buffer.writeStaticString(",\"initiator\":\"")
        buffer.writeString(initiator.rawValue)
        buffer.writeStaticString("\"")
        if isCounted {
            buffer.writeStaticString(",\"messagesIn\":")
            buffer.writeDecimal(UInt64(max(messagesIn, 0)))
            buffer.writeStaticString(",\"messagesOut\":")
            buffer.writeDecimal(UInt64(max(messagesOut, 0)))
            buffer.writeStaticString(",\"durationMs\":")
            buffer.writeDecimal(UInt64(max(durationMilliseconds, 0)))
        }
        buffer.writeStaticString("}")
        return buffer
    }
}
