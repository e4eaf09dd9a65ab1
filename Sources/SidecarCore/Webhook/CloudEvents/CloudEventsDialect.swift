public import HTTP1
public import NIOCore

/// Writes a connection's events as HTTP requests in CloudEvents 1.0 binary content mode.
///
/// The one place that knows how an event looks on the wire to the app: another dialect replaces this type.
/// Fields that never change for a connection are written once, as its ``prefix(for:connectionID:client:)``.
public final class CloudEventsDialect: Sendable {
    private let source: String
    private let preserveHost: Bool
    private let authority: String
    private let webhookPath: String?
    private let forwardedHeaders: [String]
    private let secrets: WebhookSecrets?

    /// True when events carry a signature, with the time of the attempt.
    public var isSigned: Bool { secrets != nil }

    /// Makes the dialect of one process.
    ///
    /// - Parameters:
    ///   - nodeName: The node's name, which becomes part of `ce-source`.
    ///   - authority: The app's own authority, sent as `Host` unless the client's is kept.
    ///   - preserveHost: Send the client's `Host`.
    ///   - webhookPath: The path and query that gets every event, or nil for the client's own.
    ///   - forwardedHeaders: Lower-case names of handshake fields repeated on events after `open`.
    ///   - secrets: What events are signed with, if they are.
    public init(
        nodeName: String,
        authority: String,
        preserveHost: Bool,
        webhookPath: String?,
        forwardedHeaders: [String],
        secrets: WebhookSecrets? = nil
    ) {
        self.secrets = secrets
        var encoded = ByteBuffer()
        encoded.writePercentEncoded(nodeName)
        self.source = "/sidesocket/" + String(buffer: encoded)
        self.authority = authority
        self.preserveHost = preserveHost
        self.webhookPath = webhookPath
        self.forwardedHeaders = forwardedHeaders
    }

    /// The request of the `open` event, whole; it carries all end-to-end fields of the handshake.
    ///
    /// - Parameters:
    ///   - prefix: What events of the connection begin with.
    ///   - identity: The fields that say who the client is, when that is known before the app is asked.
    ///   - signedAt: The time of this attempt, in seconds since 1970.
    public func writeOpen(
        handshake: HTTPRequestHead,
        prefix: EventPrefix,
        identity: ByteBuffer? = nil,
        connectionID: String,
        unixMilliseconds: Int64,
        signedAt: Int64,
        into buffer: inout ByteBuffer
    ) {
        buffer.writeImmutableBuffer(prefix.start)
        let named = HeaderRules.namedByConnection(handshake.headers)
        handshake.headers.forEach { name, value in
            if HeaderRules.isHopByHop(name) || HeaderRules.isReservedInEvents(name)
                || HeaderRules.isHandshakeOnly(name) || HeaderRules.describesBody(name)
                || HTTPField.equals(name, "host") || HTTPField.equals(name, "expect")
                // Its answer becomes a message or goes into the 101; a compressed one would be of use to nobody.
                || HTTPField.equals(name, "accept-encoding")
                || named.contains(where: { HTTPField.equals(name, $0) })
            {
                return
            }
            if HTTPField.equals(name, "sec-websocket-protocol") {
                let offered = String(decoding: value, as: UTF8.self).split(separator: ",")
                    .map { $0.drop { $0 == " " || $0 == "\t" } }
                let shown = offered.filter { !$0.hasPrefix(TokenSource.bearerPrefix) }
                if shown.count < offered.count {
                    // A token is no subprotocol, and nobody's business.
                    if !shown.isEmpty { buffer.writeField("Sec-WebSocket-Protocol", shown.joined(separator: ", ")) }
                    return
                }
            }
            buffer.writeField(name, value)
        }
        if let identity { buffer.writeImmutableBuffer(identity) }
        let attributes = EventAttributes(
            type: "sidesocket.open",
            connectionID: connectionID,
            sequence: 1,
            unixMilliseconds: unixMilliseconds
        )
        buffer.writeText(measure: attributes.measure) { attributes.write(with: &$0) }
        writeBody(ByteBuffer(), id: attributes.id, signedAt: signedAt, into: &buffer)
    }

    /// What every event of a connection begins with, request line included.
    ///
    /// - Parameter isStream: Whether the client asks for an event stream.
    public func prefix(
        for handshake: HTTPRequestHead,
        connectionID: String,
        client: ClientIdentity,
        isStream: Bool = false
    ) -> EventPrefix {
        var buffer = ByteBufferAllocator().buffer(capacity: 512)
        writeStart(
            handshake: handshake,
            connectionID: connectionID,
            client: client,
            isStream: isStream,
            into: &buffer
        )
        let startLength = buffer.readableBytes
        let named = HeaderRules.namedByConnection(handshake.headers)
        handshake.headers.forEach { name, value in
            if forwardedHeaders.contains(where: { HTTPField.equals(name, $0) }),
                !HeaderRules.isReservedInEvents(name), !HeaderRules.isHopByHop(name),
                !named.contains(where: { HTTPField.equals(name, $0) })
            {
                buffer.writeField(name, value)
            }
        }
        // Exactly as large as needed: it lives as long as the socket.
        return EventPrefix(ByteBuffer(bytes: buffer.readableBytesView), startLength: startLength)
    }

    /// The fields that say who the client is and how the app has marked the connection, to be repeated on each event.
    ///
    /// - Parameter claims: Names and values of what a verified token says; the names are those of header fields.
    public static func identityLines(
        user: UserName?,
        state: String?,
        claims: [(name: String, value: String)] = []
    ) -> ByteBuffer? {
        if user == nil, state == nil, claims.isEmpty { return nil }
        var buffer = ByteBuffer()
        for claim in claims {
            buffer.writeString(claim.name)
            buffer.writeStaticString(": ")
            buffer.writePercentEncoded(claim.value)
            buffer.writeStaticString("\r\n")
        }
        if let user {
            buffer.writeStaticString("ce-userid: ")
            buffer.writePercentEncoded(user.text)
            buffer.writeStaticString("\r\n")
        }
        if let state {
            buffer.writeStaticString("ce-connectionstate: ")
            buffer.writePercentEncoded(state)
            buffer.writeStaticString("\r\n")
        }
        return buffer
    }

    /// The request of an event after `open` or of a batch of messages, head and body.
    ///
    /// - Parameter signedAt: The time of this attempt, in seconds since 1970.
    public func write(
        _ delivery: Delivery,
        prefix: EventPrefix,
        identity: ByteBuffer?,
        connectionID: String,
        unixMilliseconds: Int64,
        signedAt: Int64,
        into buffer: inout ByteBuffer
    ) {
        let body: ByteBuffer
        var contentType: StaticString?
        switch delivery.event {
        case .batch(let messages):
            body = EventBatch.write(
                messages,
                prefix: prefix.bytes,
                identity: identity,
                connectionID: connectionID,
                firstSequence: delivery.sequence,
                unixMilliseconds: unixMilliseconds,
                into: &buffer
            )
            return writeBody(body, id: "\(connectionID)-\(delivery.sequence)", signedAt: signedAt, into: &buffer)
        case .open, .revalidate:
            body = ByteBuffer()
        case .message(.text, let payload):
            contentType = "text/plain; charset=utf-8"
            body = payload
        case .message(.binary, let payload):
            contentType = "application/octet-stream"
            body = payload
        case .close(let report):
            contentType = "application/json"
            body = report.json
        }
        let attributes = EventAttributes(
            type: delivery.event.type,
            connectionID: connectionID,
            sequence: delivery.sequence,
            unixMilliseconds: unixMilliseconds,
            contentType: contentType
        )
        let signature = signature(id: attributes.id, signedAt: signedAt, body: body)
        let measure =
            prefix.bytes.readableBytes + (identity?.readableBytes ?? 0) + attributes.measure
            + (signature?.readableBytes ?? 0) + Self.lengthMeasure + body.readableBytes
        buffer.writeText(measure: measure) { writer in
            writer.write(prefix.bytes)
            if let identity { writer.write(identity) }
            attributes.write(with: &writer)
            if let signature { writer.write(signature) }
            Self.writeLength(of: body, with: &writer)
            writer.write(body)
        }
    }

    /// The request of an event of a channel, whole. It has no client, so without a `WEBHOOK_URL` its path is `/`.
    ///
    /// - Parameters:
    ///   - id: The value of `ce-id`; no other event has it.
    ///   - signedAt: The time of this attempt, in seconds since 1970.
    public func write(
        _ event: OccupancyEvent,
        id: String,
        unixMilliseconds: Int64,
        signedAt: Int64,
        into buffer: inout ByteBuffer
    ) {
        writeRequestLine(target: webhookPath ?? "/", host: authority, into: &buffer)
        buffer.writeStaticString("ce-subject: ")
        buffer.writePercentEncoded(event.channel.text)
        buffer.writeStaticString("\r\nce-channel: ")
        buffer.writePercentEncoded(event.channel.text)
        buffer.writeStaticString("\r\n")
        buffer.writeField("ce-type", event.isOccupied ? "sidesocket.channel.occupied" : "sidesocket.channel.vacated")
        buffer.writeField("ce-id", id)
        buffer.writeStaticString("ce-time: ")
        Timestamp.write(unixMilliseconds: unixMilliseconds, into: &buffer)
        buffer.writeStaticString("\r\n")
        writeBody(ByteBuffer(), id: id, signedAt: signedAt, into: &buffer)
    }

    /// Ends the head, with the signature that depends on the body, and writes the body.
    private func writeBody(
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

    /// The fields that sign an event, if events are signed.
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

    private func writeStart(
        handshake: HTTPRequestHead,
        connectionID: String,
        client: ClientIdentity,
        isStream: Bool,
        into buffer: inout ByteBuffer
    ) {
        let host = handshake.headers.first("host") ?? authority
        writeRequestLine(
            target: webhookPath ?? handshake.target,
            host: preserveHost ? host : authority,
            into: &buffer
        )
        let target = handshake.target
        buffer.writeText(measure: 80 + 3 * target.utf8.count + connectionID.utf8.count) { writer in
            writer.write("ce-subject: ")
            writer.write(percentEncoding: target)
            writer.write("\r\nce-connectionid: ")
            writer.write(string: connectionID)
            writer.write(isStream ? "\r\nce-transport: sse\r\n" : "\r\n")
        }
        buffer.writeForwardingFields(client: client, host: host)
    }

    /// What requests of all events begin with.
    private func writeRequestLine(target: String, host: String, into buffer: inout ByteBuffer) {
        buffer.writeText(measure: 80 + target.utf8.count + host.utf8.count + source.utf8.count) { writer in
            writer.write("POST ")
            writer.write(string: target)
            writer.write(" HTTP/1.1\r\nHost: ")
            writer.write(string: host)
            writer.write("\r\nce-specversion: 1.0\r\nce-source: ")
            writer.write(string: source)
            writer.write("\r\n")
        }
    }
}

/// What sets one event of a connection apart from the others.
private struct EventAttributes {
    let type: StaticString
    let connectionID: String
    let sequence: UInt64
    let unixMilliseconds: Int64
    var contentType: StaticString?

    /// The value of `ce-id`.
    var id: String { "\(connectionID)-\(sequence)" }

    /// What ``write(with:)`` takes at most, in bytes: the names and numbers have less than 200.
    var measure: Int {
        200 + type.utf8CodeUnitCount + connectionID.utf8.count + (contentType?.utf8CodeUnitCount ?? 0)
    }

    func write(with writer: inout TextWriter) {
        writer.write("ce-type: ")
        writer.write(type)
        writer.write("\r\nce-id: ")
        writer.write(string: connectionID)
        writer.write("-")
        writer.write(sequence)
        writer.write("\r\nce-sequence: ")
        writer.write(sequence)
        writer.write("\r\nce-time: ")
        Timestamp.write(unixMilliseconds: unixMilliseconds, with: &writer)
        if let contentType {
            writer.write("\r\nContent-Type: ")
            writer.write(contentType)
        }
        writer.write("\r\n")
    }
}

extension SessionEvent {
    /// The value of `ce-type`.
    fileprivate var type: StaticString {
        switch self {
        case .open: "sidesocket.open"
        case .message, .batch: "sidesocket.message"
        case .revalidate: "sidesocket.revalidate"
        case .close: "sidesocket.close"
        }
    }
}

extension ByteBuffer {
    /// The fields that tell the app who the client is; whatever the client sent under these names was left out.
    mutating func writeForwardingFields(client: ClientIdentity, host: String) {
        writeField("X-Forwarded-For", client.forwardedFor)
        writeField("X-Forwarded-Proto", client.scheme)
        writeField("X-Forwarded-Host", client.forwardedHost ?? host)
        if let header = client.namedIn { writeField(header.fieldName, client.address) }
    }
}
