import HTTP1

/// How an app's reply is used, which decides which of its fields are passed on to the client.
enum ReplyUse: Equatable {
    /// The reply to a request that was passed through.
    ///
    /// - Parameters:
    ///   - keepsLength: Its `Content-Length` holds for the client too.
    ///   - mayHaveTrailers: Fields may follow the body.
    case response(keepsLength: Bool, mayHaveTrailers: Bool)
    /// A 1xx before that (RFC 9110 §15.2).
    case interim
    /// The refusal of a session, whose body may have been cut.
    case refusal
    /// The acceptance of a WebSocket.
    case webSocket
    /// The acceptance of an event stream.
    case eventStream

    /// True for an end-to-end field that the client cannot use, or that we write ourselves.
    fileprivate func drops(_ name: UnsafeRawBufferPointer) -> Bool {
        switch self {
        case .response(let keepsLength, let mayHaveTrailers):
            !keepsLength && HTTPField.equals(name, "content-length")
                || !mayHaveTrailers && HTTPField.equals(name, "trailer")
        case .interim:
            HeaderRules.describesBody(name)
        case .refusal:
            HTTPField.equals(name, "content-length")
        case .webSocket:
            HeaderRules.isHandshakeOnly(name) || HeaderRules.describesBody(name)
        case .eventStream:
            HeaderRules.describesBody(name) || HTTPField.equals(name, "cache-control")
                || HTTPField.equals(name, "x-accel-buffering") || HTTPField.hasPrefix(name, "access-control-")
                || HTTPField.hasPrefix(name, "sec-websocket-")
        }
    }
}

extension HTTPReplyHead {
    /// Calls `body` with each field that is passed on to the client: hop-by-hop fields end here (RFC 9110 §7.6.1), and
    /// so do those that are meant for us.
    func forEachField(
        in use: ReplyUse,
        _ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void
    ) {
        let named = HeaderRules.namedByConnection(headers)
        headers.forEach { name, value in
            if HeaderRules.isHopByHop(name) || HeaderRules.isSidesocket(name) || use.drops(name)
                || named.contains(where: { HTTPField.equals(name, token: $0) })
            {
                return
            }
            body(name, value)
        }
    }
}
