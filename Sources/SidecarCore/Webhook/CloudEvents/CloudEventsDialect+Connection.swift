public import HTTP1
import NIOCore

/// What is written once for a connection: the request line and the fields that do not change.
///
/// ```
/// POST … Host …  |  ce-specversion … ce-transport  |  X-Forwarded-…  |  fields that are repeated
///            ends.first                      ends.second       ends.third
/// ```
/// The `open` event, which has all fields of the handshake, begins with the first three parts. A batch begins with all
/// but the second, which becomes JSON.
extension CloudEventsDialect {
    /// The facts of a handshake that events need.
    public func connection(
        for handshake: HTTPRequestHead,
        id: String,
        client: ClientIdentity,
        transportKind: TransportKind
    ) -> WebhookConnection {
        let host = handshake.headers.first("host") ?? authority
        let named = HeaderRules.namedByConnection(handshake.headers)
        var fields: [WebhookConnection.Field] = []
        handshake.headers.forEach { name, value in
            if forwardedHeaders.contains(where: { HTTPField.equals(name, token: $0) }), HeaderRules.mayBeRepeated(name),
                !named.contains(where: { HTTPField.equals(name, token: $0) })
            {
                fields.append(WebhookConnection.Field(name: Array(name), value: Array(value)))
            }
        }
        return WebhookConnection(
            id: id,
            node: node,
            subject: handshake.target,
            target: webhookPath ?? handshake.target,
            host: preserveHost ? host : authority,
            transportKind: transportKind,
            forwarding: ForwardingFields(client, host: host),
            fields: fields
        )
    }

    /// The start of every event of a connection, request line included.
    public func prepare(_ connection: WebhookConnection) -> PreparedConnection {
        var buffer = ByteBufferAllocator().buffer(capacity: 512)
        var ends = PreparedConnection.Ends()
        let start = requestStartMeasure(target: connection.target, host: connection.host, node: connection.node)
        let measure = start + 80 + 3 * connection.subject.utf8.count + connection.id.utf8.count
        buffer.writeText(measure: measure) { writer in
            writeRequestLine(target: connection.target, host: connection.host, with: &writer)
            ends.first = UInt32(clamping: writer.count)
            writeSource(node: connection.node, with: &writer)
            writer.write("ce-subject: ")
            writer.write(percentEncoding: connection.subject)
            writer.write("\r\nce-connectionid: ")
            writer.write(string: connection.id)
            if let transport = connection.transportKind.attribute {
                writer.write("\r\nce-transport: ")
                writer.write(string: transport)
            }
            writer.write("\r\n")
            ends.second = UInt32(clamping: writer.count)
        }
        buffer.writeForwardingFields(connection.forwarding)
        ends.third = UInt32(clamping: buffer.readableBytes)
        for field in connection.fields {
            field.name.withUnsafeBytes { name in
                field.value.withUnsafeBytes { value in buffer.writeField(name, value) }
            }
        }
        return PreparedConnection(connection, on: node, bytes: Array(buffer.readableBytesView), ends: ends)
    }

    /// The fields that say who the client is and what state the app has attached to the connection.
    public func prepare(_ identity: ConnectionIdentity) -> PreparedIdentity? {
        if identity.isAnonymous { return nil }
        var buffer = ByteBuffer()
        for claim in identity.claims {
            buffer.writeStaticString("ce-")
            buffer.writeString(claim.name)
            buffer.writeStaticString(": ")
            buffer.writePercentEncoded(claim.value)
            buffer.writeStaticString("\r\n")
        }
        if let user = identity.user {
            buffer.writeStaticString("ce-userid: ")
            buffer.writePercentEncoded(user.text)
            buffer.writeStaticString("\r\n")
        }
        if let state = identity.state {
            buffer.writeStaticString("ce-connectionstate: ")
            buffer.writePercentEncoded(state)
            buffer.writeStaticString("\r\n")
        }
        return PreparedIdentity(identity, bytes: Array(buffer.readableBytesView))
    }

    /// What ``writeRequestLine(target:host:with:)`` and ``writeSource(node:with:)`` take at most, in bytes.
    func requestStartMeasure(target: String, host: String, node: String) -> Int {
        100 + target.utf8.count + host.utf8.count + 3 * node.utf8.count
    }

    /// The start of the requests of all events.
    func writeRequestLine(target: String, host: String, with writer: inout TextWriter) {
        writer.write("POST ")
        writer.write(string: target)
        writer.write(" HTTP/1.1\r\nHost: ")
        writer.write(string: host)
        writer.write("\r\n")
    }

    /// The first attributes of all events.
    func writeSource(node: String, with writer: inout TextWriter) {
        writer.write("ce-specversion: 1.0\r\nce-source: ")
        writer.write(Self.sourcePrefix)
        writer.write(percentEncoding: node)
        writer.write("\r\n")
    }

    /// What precedes the node's name in `ce-source`.
    static let sourcePrefix: StaticString = "/sidesocket/"
}

extension TransportKind {
    /// The attribute `transport` of its events; nil where they have none.
    var attribute: String? {
        switch self {
        case .webSocket: nil
        case .eventStream: "sse"
        case .poll: "poll"
        case .stream: "stream"
        }
    }
}
