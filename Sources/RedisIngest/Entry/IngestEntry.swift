public import NIOCore
public import SidecarCore

/// What an entry of a stream asks to be published.
public struct IngestEntry: Sendable, Equatable {
    /// The longest id of a producer, in bytes; the same as of an `Idempotency-Key`.
    public static let maxIDBytes = 256

    /// The message and its channel.
    public let publication: Publication
    /// The connection that does not get it.
    public let excluded: String?
    /// The producer's idempotency key.
    public let id: String?

    /// Reads the fields of an entry.
    ///
    /// - Parameters:
    ///   - fields: Names and values in turn.
    ///   - maxMessageBytes: The most bytes that the message may have.
    /// - Throws: What is wrong with the first field that cannot be used, or with all of them together.
    public init(fields: [ByteBuffer], maxMessageBytes: Int) throws(IngestFault) {
        var values: [Field: ByteBuffer] = [:]
        var index = 0
        while index < fields.count {
            let name = fields[index]
            guard let field = Field(rawValue: String(buffer: name)) else {
                throw .unknownField(Self.quoted(name))
            }
            guard index + 1 < fields.count else { throw .notPairs }
            guard values.updateValue(fields[index + 1], forKey: field) == nil else {
                throw .repeatedField(field.rawValue)
            }
            index += 2
        }
        guard let name = values[.channel] else { throw .noChannel }
        guard let channel = ChannelName(String(buffer: name)) else { throw .badChannel }
        let event = try Self.text(values[.event], or: .badEvent)
        if let event, !OperatorSyntax.isEventType(event) { throw .badEvent }
        // Languages without optional fields write an empty one, and no connection has an empty id.
        let excluded = try Self.text(values[.exclude], or: .badExclude)
        self.excluded = excluded == "" ? nil : excluded
        id = try Self.text(values[.id], or: .badID)
        if let id, !(1...Self.maxIDBytes).contains(id.utf8.count) { throw .badID }
        let (format, payload) = try Self.message(values[.text], values[.base64], maxMessageBytes)
        publication = Publication(channel: channel, format: format, payload: payload, event: event)
    }

    private enum Field: String {
        case channel, text, base64, event, exclude, id
    }

    private static func message(
        _ text: ByteBuffer?,
        _ base64: ByteBuffer?,
        _ limit: Int
    ) throws(IngestFault) -> (MessageFormat, ByteBuffer) {
        switch (text, base64) {
        case (nil, nil): throw .noMessage
        case (_?, _?): throw .twoMessages
        case (let text?, nil):
            guard text.readableBytes <= limit else { throw .tooLarge(bytes: text.readableBytes, limit: limit) }
            guard OperatorSyntax.isText(text) else { throw .badText }
            // A copy, since the bytes are a slice of a reply with many entries, which it would keep alive.
            return (.text, ByteBuffer(buffer: text))
        case (nil, let base64?):
            // Before it is decoded: the digits without their padding, three bytes for four.
            let padding = base64.readableBytesView.suffix(2).count { $0 == UInt8(ascii: "=") }
            let bytes = base64.readableBytes / 4 * 3 - padding
            guard bytes <= limit else { throw .tooLarge(bytes: bytes, limit: limit) }
            guard let payload = OperatorSyntax.bytes(ofBase64: String(buffer: base64)) else { throw .badBase64 }
            return (.binary, payload)
        }
    }

    private static func text(_ bytes: ByteBuffer?, or fault: IngestFault) throws(IngestFault) -> String? {
        guard let bytes else { return nil }
        guard OperatorSyntax.isText(bytes) else { throw fault }
        return String(buffer: bytes)
    }

    /// A name for the log: what is not printable, and what is too long for a line, is left out.
    private static func quoted(_ name: ByteBuffer) -> String {
        let shown = name.readableBytesView.prefix(40).map { 0x21...0x7E ~= $0 ? $0 : UInt8(ascii: "?") }
        return "\"\(String(decoding: shown, as: UTF8.self))\(name.readableBytes > 40 ? "…" : "")\""
    }
}
