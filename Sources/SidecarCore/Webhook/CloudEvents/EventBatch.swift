import HTTP1
import NIOCore

/// Writes several messages of one connection as one request in the CloudEvents 1.0 JSON batch format.
///
/// What the prefix of a connection says in `ce-` fields is said by the members of each event; the other fields stay.
enum EventBatch {
    /// Writes the head of a request with the messages of a connection, but for its length and end.
    ///
    /// - Returns: The body.
    ///
    /// - Parameters:
    ///   - prefix: The fields that all events of the connection begin with, request line included.
    ///   - identity: The fields by which the app has marked the connection.
    ///   - firstSequence: That of the first message; the others follow without gaps.
    ///   - unixMilliseconds: The time of messages that have none of their own.
    static func write(
        _ messages: [QueuedMessage],
        prefix: ByteBuffer,
        identity: ByteBuffer?,
        connectionID: String,
        firstSequence: UInt64,
        unixMilliseconds: Int64,
        into buffer: inout ByteBuffer
    ) -> ByteBuffer {
        var shared = ByteBuffer()
        split(prefix, fields: &buffer, members: &shared)
        if let identity { split(identity, fields: &buffer, members: &shared) }
        var body = ByteBuffer()
        body.reserveCapacity(
            messages.reduce(2) { $0 + shared.readableBytes + 256 + $1.payload.readableBytes / 3 * 4 }
        )
        body.writeStaticString("[")
        for (offset, message) in messages.enumerated() {
            if offset > 0 { body.writeStaticString(",") }
            body.writeStaticString("{\"type\":\"sidesocket.message\"")
            body.writeImmutableBuffer(shared)
            let sequence = firstSequence + UInt64(offset)
            body.writeStaticString(",\"id\":\"")
            body.writeString(connectionID)
            body.writeStaticString("-")
            body.writeDecimal(sequence)
            body.writeStaticString("\",\"sequence\":\"")
            body.writeDecimal(sequence)
            body.writeStaticString("\",\"time\":\"")
            Timestamp.write(unixMilliseconds: message.time ?? unixMilliseconds, into: &body)
            switch message.format {
            case .text:
                body.writeStaticString("\",\"datacontenttype\":\"text/plain; charset=utf-8\",\"data\":")
                body.writeJSONString(message.payload)
            case .binary:
                body.writeStaticString("\",\"datacontenttype\":\"application/octet-stream\",\"data_base64\":\"")
                Base64.write(message.payload, into: &body)
                body.writeStaticString("\"")
            }
            body.writeStaticString("}")
        }
        body.writeStaticString("]")
        buffer.writeStaticString("Content-Type: application/cloudevents-batch+json\r\n")
        return body
    }

    /// Copies the lines of a head, but those of `ce-` fields become members of a JSON object.
    private static func split(_ head: ByteBuffer, fields: inout ByteBuffer, members: inout ByteBuffer) {
        var head = head
        while let end = head.readableBytesView.firstIndex(of: UInt8(ascii: "\n")),
            let line = head.readSlice(length: end - head.readerIndex + 1)
        {
            let bytes = line.readableBytesView
            guard bytes.starts(with: "ce-".utf8), let colon = bytes.firstIndex(of: UInt8(ascii: ":")) else {
                fields.writeImmutableBuffer(line)
                continue
            }
            members.writeStaticString(",")
            members.writeJSONString(String(decoding: bytes[bytes.startIndex + 3..<colon], as: UTF8.self))
            members.writeStaticString(":")
            let value = bytes[(colon + 1)...].drop { $0 == 0x20 }.prefix { $0 != 0x0D && $0 != 0x0A }
            members.writeJSONString(PercentEncoding.decoded(value))
        }
    }
}
