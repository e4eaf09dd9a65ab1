/// The record of how a connection ended.
extension CloseReport {
    private enum Tag {
        static let code: UInt8 = 1
        static let reason: UInt8 = 2
        static let initiator: UInt8 = 3
        static let messagesIn: UInt8 = 4
        static let messagesOut: UInt8 = 5
        static let duration: UInt8 = 6
    }

    /// The record for the outbox.
    public var record: [UInt8] {
        var writer = JournalWriter()
        writer.write(Tag.code, number: UInt64(code.rawValue))
        writer.write(Tag.reason, text: reason)
        writer.write(Tag.initiator, text: initiator.rawValue)
        writer.write(Tag.messagesIn, number: UInt64(max(messagesIn, 0)))
        writer.write(Tag.messagesOut, number: UInt64(max(messagesOut, 0)))
        writer.write(Tag.duration, number: UInt64(max(durationMilliseconds, 0)))
        return writer.record
    }

    /// Reads a record of this version or of the one before.
    public init(record: [UInt8]) throws(JournalFault) {
        self =
            JournalRecord.isVersion1(record)
            ? try CloseReport(version1: record) : try CloseReport(fieldsOf: record)
    }

    private init(fieldsOf record: [UInt8]) throws(JournalFault) {
        var reader = try JournalReader(record)
        let code = UInt16(exactly: try reader.number(Tag.code))
        let reason = try reader.text(Tag.reason)
        let initiator = CloseInitiator(rawValue: try reader.text(Tag.initiator))
        let messagesIn = Int(exactly: try reader.number(Tag.messagesIn))
        let messagesOut = Int(exactly: try reader.number(Tag.messagesOut))
        let duration = Int64(exactly: try reader.number(Tag.duration))
        try reader.expectEnd()
        guard let code, let initiator, let messagesIn, let messagesOut, let duration else { throw .malformed }
        self.init(
            code: SessionCloseCode(rawValue: code),
            reason: reason,
            initiator: initiator,
            messagesIn: messagesIn,
            messagesOut: messagesOut,
            durationMilliseconds: duration
        )
    }
}
