public import HTTP1
public import NIOCore

extension CloudEventsDialect {
    /// The complete request of the `open` event; it has all end-to-end fields of the handshake.
    public func encodeOpen(
        _ handshake: HTTPRequestHead,
        of connection: PreparedConnection,
        identity: PreparedIdentity? = nil,
        unixMilliseconds: Int64,
        signedAt: Int64,
        into buffer: inout ByteBuffer
    ) {
        buffer.writeBytes(connection.bytes.prefix(Int(connection.ends.third)))
        writeFields(of: handshake.headers, into: &buffer)
        if let identity { buffer.writeBytes(identity.bytes) }
        let attributes = EventAttributes(
            type: "sidesocket.open",
            connectionID: connection.id,
            sequence: 1,
            unixMilliseconds: unixMilliseconds
        )
        buffer.writeText(measure: attributes.measure) { attributes.write(with: &$0) }
        writeBody(ByteBuffer(), id: attributes.id, signedAt: signedAt, into: &buffer)
    }

    private func writeFields(of headers: HTTPHeaders, into buffer: inout ByteBuffer) {
        let named = HeaderRules.namedByConnection(headers)
        headers.forEach { name, value in
            if HeaderRules.isHopByHop(name) || HeaderRules.isReservedInEvents(name)
                || HeaderRules.isHandshakeOnly(name) || HeaderRules.describesBody(name)
                || HTTPField.equals(name, "host") || HTTPField.equals(name, "expect")
                // The reply becomes a message or part of the 101, so it must not be compressed.
                || HTTPField.equals(name, "accept-encoding")
                || named.contains(where: { HTTPField.equals(name, token: $0) })
            {
                return
            }
            if HTTPField.equals(name, "sec-websocket-protocol") {
                return buffer.writeOfferedSubprotocols(name, value)
            }
            buffer.writeField(name, value)
        }
    }
}
