/// The record of what a client of the protocol says of a message.
extension MessageLabel {
    private enum Tag {
        static let type: UInt8 = 1
        static let id: UInt8 = 2
    }

    /// The record for the outbox.
    public var record: [UInt8] {
        var writer = JournalWriter()
        writer.write(Tag.type, text: type)
        if let id { writer.write(Tag.id, text: id) }
        return writer.record
    }

    /// Reads a record.
    public convenience init(record: [UInt8]) throws(JournalFault) {
        var reader = try JournalReader(record)
        let type = try reader.text(Tag.type)
        let id = try reader.takeText(Tag.id)
        try reader.expectEnd()
        self.init(type: type, id: id)
    }
}
