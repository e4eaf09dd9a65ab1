public import HTTP1
public import NIOCore

/// Rewrites heads for pass-through: hop-by-hop fields end here (RFC 9110 §7.6.1), framing is written anew.
public enum PassThroughHeads {
    /// Writes the request head that goes to the app.
    ///
    /// - Parameters:
    ///   - target: The target in origin form.
    ///   - host: The `Host` to send.
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
                || named.contains(where: { HTTPField.equals(name, $0) })
            {
                return
            }
            buffer.writeField(name, value)
        }
        buffer.writeForwardingFields(client: client, host: host)
        buffer.writeFraming(head.framing)
        buffer.writeStaticString("\r\n")
    }

    /// How the body of an answer reaches the client.
    public enum ClientFraming: Sendable, Equatable {
        /// No body.
        case none
        /// Exactly as many bytes as announced.
        case length
        /// Chunks written by us.
        case chunked
        /// The end of the connection ends it; for HTTP/1.0 clients.
        case untilClose
    }

    /// Writes the answer's head for the client.
    ///
    /// - Parameters:
    ///   - keepAlive: Another request may follow on the client's connection. An answer that only its end can
    ///     delimit closes whatever was asked.
    /// - Returns: The framing that the body must be written with.
    public static func writeReply(
        _ head: HTTPReplyHead,
        clientMinorVersion: Int,
        keepAlive: Bool,
        into buffer: inout ByteBuffer
    ) -> ClientFraming {
        let framing: ClientFraming =
            switch head.framing {
            case .none: .none
            case .length: .length
            case .chunked, .untilClose: clientMinorVersion >= 1 ? .chunked : .untilClose
            }
        // Bodiless answers (HEAD, 304) keep the length that they tell about; a 204 has none (RFC 9110 §8.6).
        let keepsLength = (framing == .none || framing == .length) && head.status != 204
        writeStatusLine(head, into: &buffer)
        let named = HeaderRules.namedByConnection(head.headers)
        head.headers.forEach { name, value in
            if HeaderRules.isHopByHop(name) || HeaderRules.isSidesocket(name)
                || named.contains(where: { HTTPField.equals(name, $0) })
            {
                return
            }
            if !keepsLength, HTTPField.equals(name, "content-length") { return }
            if HTTPField.equals(name, "trailer"), framing != .chunked { return }
            buffer.writeField(name, value)
        }
        if framing == .chunked { buffer.writeStaticString("Transfer-Encoding: chunked\r\n") }
        if !keepAlive || framing == .untilClose {
            buffer.writeStaticString("Connection: close\r\n")
        } else if clientMinorVersion == 0 {
            buffer.writeStaticString("Connection: keep-alive\r\n")
        }
        buffer.writeStaticString("\r\n")
        return framing
    }

    /// Writes an interim answer (1xx) for the client (RFC 9110 §15.2).
    public static func writeInterim(_ head: HTTPReplyHead, into buffer: inout ByteBuffer) {
        writeStatusLine(head, into: &buffer)
        let named = HeaderRules.namedByConnection(head.headers)
        head.headers.forEach { name, value in
            if HeaderRules.isHopByHop(name) || HeaderRules.describesBody(name) || HeaderRules.isSidesocket(name)
                || named.contains(where: { HTTPField.equals(name, $0) })
            {
                return
            }
            buffer.writeField(name, value)
        }
        buffer.writeStaticString("\r\n")
    }

    /// Writes an answer to `open` that is none of 2xx, whole, for the client; the connection closes after it.
    ///
    /// - Parameter body: At most 64 KiB of the app's body.
    public static func writeRelayed(
        _ head: HTTPReplyHead,
        body: ByteBuffer,
        into buffer: inout ByteBuffer
    ) {
        writeStatusLine(head, into: &buffer)
        let named = HeaderRules.namedByConnection(head.headers)
        head.headers.forEach { name, value in
            if HeaderRules.isHopByHop(name) || HeaderRules.isSidesocket(name)
                || HTTPField.equals(name, "content-length") || named.contains(where: { HTTPField.equals(name, $0) })
            {
                return
            }
            buffer.writeField(name, value)
        }
        buffer.writeStaticString("Content-Length: ")
        buffer.writeDecimal(UInt64(body.readableBytes))
        buffer.writeStaticString("\r\nConnection: close\r\n\r\n")
        buffer.writeImmutableBuffer(body)
    }

    /// Writes an answer of our own, whole; the connection closes after it.
    public static func writeRefusal(_ refusal: Refusal, headOnly: Bool, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("HTTP/1.1 ")
        buffer.writeDecimal(UInt64(max(refusal.status, 0)))
        buffer.writeStaticString(" ")
        buffer.writeString(reasonPhrase(refusal.status))
        buffer.writeStaticString("\r\nContent-Type: text/plain; charset=utf-8\r\n")
        if refusal.status == 426 {
            buffer.writeStaticString("Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n")
        }
        if refusal.status == 405 { buffer.writeStaticString("Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n") }
        buffer.writeString(refusal.fields)
        if let seconds = refusal.retryAfter {
            buffer.writeField("Retry-After", String(seconds))
        }
        buffer.writeStaticString("Content-Length: ")
        buffer.writeDecimal(UInt64(refusal.sentence.utf8.count + 1))
        buffer.writeStaticString("\r\nConnection: close\r\n\r\n")
        if !headOnly {
            buffer.writeString(refusal.sentence)
            buffer.writeStaticString("\n")
        }
    }

    private static func writeStatusLine(_ head: HTTPReplyHead, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("HTTP/1.1 ")
        buffer.writeDecimal(UInt64(max(head.status, 0)))
        buffer.writeStaticString(" ")
        buffer.writeString(head.reason)
        buffer.writeStaticString("\r\n")
    }

    /// The phrases of RFC 9110 §15 for the statuses that we send ourselves.
    private static func reasonPhrase(_ status: Int) -> String {
        switch status {
        case 400: "Bad Request"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 426: "Upgrade Required"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 505: "HTTP Version Not Supported"
        default: "Error"
        }
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

/// Writes a body in chunks (RFC 9112 §7.1).
public enum ChunkWriter {
    /// What goes before a chunk of so many bytes, which must not be none.
    public static func writeStart(byteCount: Int, into buffer: inout ByteBuffer) {
        buffer.writeString(String(byteCount, radix: 16))
        buffer.writeStaticString("\r\n")
    }

    /// What goes after a chunk.
    public static func writeEnd(into buffer: inout ByteBuffer) {
        buffer.writeStaticString("\r\n")
    }

    /// The last chunk, with the trailers that the parser let through.
    public static func writeLast(trailers: HTTPHeaders?, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("0\r\n")
        trailers?.forEach { name, value in
            if !HeaderRules.isHopByHop(name) { buffer.writeField(name, value) }
        }
        buffer.writeStaticString("\r\n")
    }
}
