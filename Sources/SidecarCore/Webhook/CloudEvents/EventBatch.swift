import NIOCore

/// Writes several messages of one connection as one request in the CloudEvents 1.0 JSON batch format.
///
/// What a single event says of the connection in `ce-` fields becomes members of each event; the other fields stay in
/// the head.
enum EventBatch {
    /// Writes the head of a request with the messages of a connection, without its length and end.
    ///
    /// - Returns: The body.
    ///
    /// - Parameters:
    ///   - node: The name of this node.
    ///   - firstSequence: The sequence of the first message; the others follow without gaps.
    ///   - unixMilliseconds: The time of messages without a time of their own.
    static func write(
        _ messages: [QueuedMessage],
        of connection: PreparedConnection,
        identity: PreparedIdentity?,
        node: String,
        firstSequence: UInt64,
        unixMilliseconds: Int64,
        into buffer: inout ByteBuffer
    ) -> ByteBuffer {
        buffer.writeBytes(connection.bytes.prefix(Int(connection.ends.first)))
        buffer.writeBytes(connection.bytes.dropFirst(Int(connection.ends.second)))
        let shared = members(of: connection, identity?.identity, node: node)
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
            body.writeString(connection.id)
            body.writeStaticString("-")
            body.writeDecimal(sequence)
            body.writeStaticString("\",\"sequence\":\"")
            body.writeDecimal(sequence)
            body.writeStaticString("\",\"time\":\"")
            Timestamp.write(unixMilliseconds: message.time ?? unixMilliseconds, into: &body)
            body.writeStaticString("\"")
            if let label = message.label {
                body.writeStaticString(",\"messagetype\":")
                body.writeJSONString(label.type)
                if let id = label.id {
                    body.writeStaticString(",\"messageid\":")
                    body.writeJSONString(id)
                }
            }
            body.writeStaticString(",\"datacontenttype\":\"")
            body.writeStaticString(message.format.contentType)
            switch message.format {
            case .text:
                body.writeStaticString("\",\"data\":")
                body.writeJSONString(message.payload)
            case .json:
                // From a client of the protocol, whose codec has checked it.
                body.writeStaticString("\",\"data\":")
                body.writeImmutableBuffer(message.payload)
            case .binary, .messagePack:
                body.writeStaticString("\",\"data_base64\":\"")
                Base64.write(message.payload, into: &body)
                body.writeStaticString("\"")
            }
            body.writeStaticString("}")
        }
        body.writeStaticString("]")
        buffer.writeStaticString("Content-Type: application/cloudevents-batch+json\r\n")
        return body
    }

    /// The members that all events of a connection have in common.
    private static func members(
        of connection: PreparedConnection,
        _ identity: ConnectionIdentity?,
        node: String
    ) -> ByteBuffer {
        var members = ByteBuffer()
        func write(_ name: String, _ value: String) {
            members.writeStaticString(",")
            members.writeJSONString(name)
            members.writeStaticString(":")
            members.writeJSONString(value)
        }
        write("specversion", "1.0")
        write("source", "\(CloudEventsDialect.sourcePrefix)\(connection.otherNode?.value ?? node)")
        write("subject", connection.subject)
        write("connectionid", connection.id)
        if let transport = connection.transportKind.attribute { write("transport", transport) }
        for claim in identity?.claims ?? [] { write(claim.name, claim.value) }
        if let user = identity?.user { write("userid", user.text) }
        if let state = identity?.state { write("connectionstate", state) }
        return members
    }
}
