import NIOCore

/// The record of an error, for another node.
extension ProtocolError {
    private enum Tag {
        static let code: UInt8 = 1
        static let message: UInt8 = 2
        static let mayRetry: UInt8 = 3
        static let status: UInt8 = 4
        static let content: UInt8 = 5
    }

    var record: [UInt8] {
        var writer = JournalWriter()
        writer.write(Tag.code, text: code.rawValue)
        writer.write(Tag.message, text: message)
        writer.write(Tag.mayRetry, number: mayRetry ? 1 : 0)
        if let status { writer.write(Tag.status, number: UInt64(max(status, 0))) }
        if let content {
            writer.write(Tag.content, name: [content.format.recordNumber], value: content.payload.readableBytesView)
        }
        return writer.record
    }

    init(record: [UInt8], about id: String) throws(JournalFault) {
        var reader = try JournalReader(record)
        guard let code = Code(rawValue: try reader.text(Tag.code)) else { throw .malformed }
        let message = try reader.text(Tag.message)
        let mayRetry = try reader.number(Tag.mayRetry) == 1
        let status = try reader.take(Tag.status).map { JournalReader.number($0) }
        var content: Content?
        if let (name, value) = try reader.takePair(Tag.content) {
            guard let number = name.first, let format = MessageFormat(recordNumber: number) else { throw .malformed }
            content = Content(format, ByteBuffer(bytes: value))
        }
        self.init(
            code,
            about: id,
            message,
            status: status.map { Int(clamping: $0) },
            mayRetry: mayRetry,
            content: content
        )
    }
}
