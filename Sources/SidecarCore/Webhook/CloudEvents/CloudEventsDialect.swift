public import NIOCore

/// Sidesocket's own dialect: events as CloudEvents 1.0 over HTTP, a single one in binary content mode and several in
/// the JSON batch format; replies as `Sidesocket-…` fields, a body that is a message, or a list of commands.
public final class CloudEventsDialect: WebhookDialect {
    let node: String
    let preserveHost: Bool
    let authority: String
    let webhookPath: String?
    let forwardedHeaders: [String]
    private let secrets: WebhookSecrets?

    /// True when events carry a signature that covers the time of the attempt.
    public var isSigned: Bool { secrets != nil }

    /// Makes the dialect of one process.
    ///
    /// - Parameters:
    ///   - nodeName: The node's name, which becomes part of `ce-source`.
    ///   - authority: The app's own authority, sent as `Host` unless the client's is preserved.
    ///   - preserveHost: Send the client's `Host`.
    ///   - webhookPath: The path and query that all events go to, or nil for the client's own.
    ///   - forwardedHeaders: Lower-case names of handshake fields repeated on events after `open`.
    ///   - secrets: The secrets that events are signed with; nil for no signature.
    public init(
        nodeName: String,
        authority: String,
        preserveHost: Bool,
        webhookPath: String?,
        forwardedHeaders: [String],
        secrets: WebhookSecrets? = nil
    ) {
        self.secrets = secrets
        node = nodeName
        self.authority = authority
        self.preserveHost = preserveHost
        self.webhookPath = webhookPath
        self.forwardedHeaders = forwardedHeaders
    }

    /// The request of an event after `open` or of a batch of messages, head and body.
    public func encode(
        _ event: SessionEvent,
        sequence: UInt64,
        of connection: PreparedConnection,
        identity: PreparedIdentity?,
        unixMilliseconds: Int64,
        signedAt: Int64,
        into buffer: inout ByteBuffer
    ) {
        let body: ByteBuffer
        var contentType: StaticString?
        var label: MessageLabel?
        switch event {
        case .batch(let messages):
            body = EventBatch.write(
                messages,
                of: connection,
                identity: identity,
                node: node,
                firstSequence: sequence,
                unixMilliseconds: unixMilliseconds,
                into: &buffer
            )
            return writeBody(body, id: connection.eventID(sequence), signedAt: signedAt, into: &buffer)
        case .open, .revalidate, .detached, .resumed:
            body = ByteBuffer()
        case .message(let format, let payload, let known):
            contentType = format.contentType
            body = payload
            label = known
        case .close(let report):
            contentType = "application/json"
            body = report.json
        }
        let attributes = EventAttributes(
            type: event.type,
            connectionID: connection.id,
            sequence: sequence,
            unixMilliseconds: unixMilliseconds,
            contentType: contentType,
            label: label
        )
        let signature = signature(id: attributes.id, signedAt: signedAt, body: body)
        let measure =
            connection.bytes.count + (identity?.bytes.count ?? 0) + attributes.measure
            + (signature?.readableBytes ?? 0) + Self.lengthMeasure + body.readableBytes
        buffer.writeText(measure: measure) { writer in
            connection.bytes.withUnsafeBytes { writer.write($0) }
            identity?.bytes.withUnsafeBytes { writer.write($0) }
            attributes.write(with: &writer)
            if let signature { writer.write(signature) }
            Self.writeLength(of: body, with: &writer)
            writer.write(body)
        }
    }

    /// The complete request of an event of a channel. There is no client, so without a `WEBHOOK_URL` its path is `/`.
    ///
    /// - Parameter id: The value of `ce-id`, unique to this event.
    public func encode(
        _ event: OccupancyEvent,
        id: String,
        unixMilliseconds: Int64,
        signedAt: Int64,
        into buffer: inout ByteBuffer
    ) {
        let target = webhookPath ?? "/"
        buffer.writeText(measure: requestStartMeasure(target: target, host: authority, node: node)) { writer in
            writeRequestLine(target: target, host: authority, with: &writer)
            writeSource(node: node, with: &writer)
        }
        buffer.writeStaticString("ce-subject: ")
        buffer.writePercentEncoded(event.channel.text)
        buffer.writeStaticString("\r\nce-channel: ")
        buffer.writePercentEncoded(event.channel.text)
        buffer.writeStaticString("\r\n")
        buffer.writeField("ce-type", "sidesocket.channel.\(event.name)")
        buffer.writeField("ce-id", id)
        buffer.writeStaticString("ce-time: ")
        Timestamp.write(unixMilliseconds: unixMilliseconds, into: &buffer)
        buffer.writeStaticString("\r\n")
        writeBody(ByteBuffer(), id: id, signedAt: signedAt, into: &buffer)
    }

    /// Ends the head, with the signature, which covers the body, and writes the body.
    func writeBody(
        _ body: ByteBuffer,
        id: @autoclosure () -> String,
        signedAt: Int64,
        into buffer: inout ByteBuffer
    ) {
        if let signature = signature(id: id(), signedAt: signedAt, body: body) {
            buffer.writeImmutableBuffer(signature)
        }
        buffer.writeText(measure: Self.lengthMeasure + body.readableBytes) { writer in
            Self.writeLength(of: body, with: &writer)
            writer.write(body)
        }
    }

    /// The fields that sign an event; nothing when events are not signed.
    private func signature(id: @autoclosure () -> String, signedAt: Int64, body: ByteBuffer) -> ByteBuffer? {
        guard let secrets else { return nil }
        var lines = ByteBuffer()
        secrets.write(id: id(), unixSeconds: signedAt, body: body, into: &lines)
        return lines
    }

    /// What ``writeLength(of:with:)`` takes at most, in bytes.
    private static let lengthMeasure = 40

    private static func writeLength(of body: ByteBuffer, with writer: inout TextWriter) {
        writer.write("Content-Length: ")
        writer.write(UInt64(body.readableBytes))
        writer.write("\r\n\r\n")
    }
}
