import NIOCore
import SidecarCore

/// What a publisher writes into a message: the payload, and what its subscribers need to know about it.
///
/// One byte for the format, then origin, report, excluded connection and event type, each as one byte of length and its
/// text, then the payload.
struct MessageBody: Sendable, Equatable {
    /// The byte of each format is its index here.
    private static let formats: [MessageFormat] = [.text, .binary, .json, .messagePack]

    let format: MessageFormat
    /// The incarnation of the node that published it.
    let origin: String
    /// See ``ChannelEnvelope/report``.
    let report: String?
    let excluded: String?
    let event: String?
    let payload: ByteBuffer

    /// Writes a publication.
    static func write(_ envelope: ChannelEnvelope, origin: String) -> ByteBuffer {
        let publication = envelope.publication
        let (report, excluded, event) = (envelope.report ?? "", envelope.excluded?.id ?? "", publication.event ?? "")
        var buffer = ByteBuffer()
        buffer.reserveCapacity(
            5 + origin.utf8.count + report.utf8.count + excluded.utf8.count + event.utf8.count
                + publication.payload.readableBytes
        )
        buffer.writeInteger(UInt8(clamping: formats.firstIndex(of: publication.format) ?? 0))
        for field in [origin, report, excluded, event] {
            // Ids and event types are checked to be far shorter.
            buffer.writeInteger(UInt8(clamping: field.utf8.count))
            buffer.writeBytes(field.utf8.prefix(Int(UInt8.max)))
        }
        buffer.writeImmutableBuffer(publication.payload)
        return buffer
    }

    /// Reads what ``write(_:origin:)`` wrote.
    init(_ bytes: ByteBuffer) throws(FrameFault) {
        var bytes = bytes
        guard let number = bytes.readInteger(as: UInt8.self).map(Int.init), Self.formats.indices.contains(number) else {
            throw .badBody
        }
        format = Self.formats[number]
        guard let origin = Self.readField(&bytes), let report = Self.readField(&bytes),
            let excluded = Self.readField(&bytes), let event = Self.readField(&bytes)
        else { throw .badBody }
        self.origin = origin
        self.report = report.isEmpty ? nil : report
        self.excluded = excluded.isEmpty ? nil : excluded
        guard event.utf8.allSatisfy({ 0x20...0x7E ~= $0 }) else { throw .badBody }
        self.event = event.isEmpty ? nil : event
        // A client would have to close for text that is none.
        guard !format.isText || OperatorSyntax.isText(bytes) else { throw .badBody }
        payload = bytes
    }

    private static func readField(_ bytes: inout ByteBuffer) -> String? {
        guard let length = bytes.readInteger(as: UInt8.self), let view = bytes.readSlice(length: Int(length)) else {
            return nil
        }
        return String(buffer: view)
    }
}

extension MessageFrame {
    /// The message as the node passes it to its subscribers.
    func envelope(in channel: ChannelName) -> ChannelEnvelope {
        ChannelEnvelope(
            Publication(channel: channel, format: body.format, payload: body.payload, event: body.event),
            excluding: body.excluded.map(ExcludedConnection.init),
            origin: body.origin,
            report: body.report
        )
    }

    /// The message as it is kept.
    var stored: StoredMessage {
        StoredMessage(
            offset: point.offset,
            id: point.id,
            time: time,
            format: body.format,
            payload: body.payload,
            event: body.event
        )
    }

    /// Whether a reader is excluded (``StreamCursor/reader``); 0 for none.
    func excludes(_ reader: UInt64) -> Bool {
        guard reader != 0, let excluded = body.excluded else { return false }
        return StreamCursor.reader(excluded) == reader
    }
}
