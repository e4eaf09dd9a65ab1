public import HTTP1
public import NIOCore

/// Rewrites the heads of requests for pass-through: hop-by-hop fields end here (RFC 9110 §7.6.1), framing is written anew.
public enum PassThroughHeads {
    /// Writes the request head that goes to the app.
    ///
    /// - Parameter target: The target in origin form.
    public static func writeRequest(
        _ head: HTTPRequestHead,
        target: String,
        client: ClientIdentity,
        appAuthority: String,
        preserveHost: Bool,
        into buffer: inout ByteBuffer
    ) {
        let host = head.headers.first("host") ?? appAuthority
        buffer.writeString(head.method)
        buffer.writeStaticString(" ")
        buffer.writeString(target)
        buffer.writeStaticString(" HTTP/1.1\r\n")
        buffer.writeField("Host", preserveHost ? host : appAuthority)
        let named = HeaderRules.namedByConnection(head.headers)
        head.headers.forEach { name, value in
            if HeaderRules.isHopByHop(name) || HeaderRules.isForwarding(name) || HeaderRules.isSidesocket(name)
                || HTTPField.equals(name, "host") || HTTPField.equals(name, "content-length")
                || named.contains(where: { HTTPField.equals(name, token: $0) })
            {
                return
            }
            if HTTPField.equals(name, "sec-websocket-protocol") { return buffer.writeOfferedSubprotocols(name, value) }
            buffer.writeField(name, value)
        }
        buffer.writeForwardingFields(client: client, host: host)
        buffer.writeFraming(head.framing)
        buffer.writeStaticString("\r\n")
    }
}

extension ByteBuffer {
    fileprivate mutating func writeFraming(_ framing: HTTPBodyFraming) {
        switch framing {
        case .length(let length):
            writeStaticString("Content-Length: ")
            writeDecimal(UInt64(max(length, 0)))
            writeStaticString("\r\n")
        case .chunked:
            writeStaticString("Transfer-Encoding: chunked\r\n")
        case .none, .untilClose:
            break
        }
    }
}
