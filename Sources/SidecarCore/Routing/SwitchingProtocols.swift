public import HTTP1
public import NIOCore

/// What the app's answer to `open` puts into the 101.
public enum SwitchingProtocols {
    /// Writes the whole 101 answer (RFC 6455 §4.2.2).
    ///
    /// - Parameters:
    ///   - acceptKey: The value of `Sec-WebSocket-Accept`.
    ///   - reply: The app's 2xx answer; its end-to-end fields travel on, but for those that describe its body.
    ///   - offered: The subprotocols that the client offered.
    ///   - extensions: The extensions that were agreed on, if any.
    /// - Returns: The refusal when the app chose a subprotocol that was not offered; nothing was written then.
    public static func write(
        acceptKey: String,
        reply: HTTPReplyHead,
        offered: [String],
        extensions: String? = nil,
        into buffer: inout ByteBuffer
    ) -> Refusal? {
        let chosen = reply.headers.values(of: "sec-websocket-protocol")
        if let first = chosen.first, chosen.count > 1 || !offered.contains(first) {
            return Refusal(
                status: 502,
                sentence: "The application chose a subprotocol that was not offered.",
                reason: .subprotocol
            )
        }
        writeStart(acceptKey: acceptKey, extensions: extensions, into: &buffer)
        let named = HeaderRules.namedByConnection(reply.headers)
        reply.headers.forEach { name, value in
            if HeaderRules.isHopByHop(name) || HeaderRules.isHandshakeOnly(name) || HeaderRules.isSidesocket(name)
                || HeaderRules.describesBody(name) || named.contains(where: { HTTPField.equals(name, $0) })
            {
                return
            }
            buffer.writeField(name, value)
        }
        buffer.writeStaticString("\r\n")
        return nil
    }

    /// Writes a 101 answer that the app has no part in.
    public static func writePlain(acceptKey: String, extensions: String?, into buffer: inout ByteBuffer) {
        writeStart(acceptKey: acceptKey, extensions: extensions, into: &buffer)
        buffer.writeStaticString("\r\n")
    }

    private static func writeStart(acceptKey: String, extensions: String?, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        buffer.writeField("Sec-WebSocket-Accept", acceptKey)
        if let extensions { buffer.writeField("Sec-WebSocket-Extensions", extensions) }
    }
}
