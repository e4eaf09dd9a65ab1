public import HTTP1
public import NIOCore

/// The head of the answer that begins an event stream.
public enum EventStreamHead {
    /// Writes it, with the end-to-end fields of the app's answer to `open`.
    ///
    /// - Parameter origin: The page that may read it, when the browser named one (CORS, Fetch Standard §3.2).
    public static func write(_ reply: HTTPReplyHead, origin: String?, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n")
        buffer.writeStaticString("X-Accel-Buffering: no\r\nConnection: close\r\n")
        if let origin {
            buffer.writeField("Access-Control-Allow-Origin", origin)
            buffer.writeStaticString("Access-Control-Allow-Credentials: true\r\nVary: Origin\r\n")
        }
        let named = HeaderRules.namedByConnection(reply.headers)
        reply.headers.forEach { name, value in
            if HeaderRules.isHopByHop(name) || HeaderRules.isHandshakeOnly(name) || HeaderRules.isSidesocket(name)
                || HeaderRules.describesBody(name) || HTTPField.equals(name, "cache-control")
                || HTTPField.equals(name, "x-accel-buffering") || HTTPField.hasPrefix(name, "access-control-")
                || HTTPField.hasPrefix(name, "sec-websocket-")
                || named.contains(where: { HTTPField.equals(name, $0) })
            {
                return
            }
            buffer.writeField(name, value)
        }
        buffer.writeStaticString("\r\n")
    }
}
