public import HTTP1

/// The 101 response that opens a WebSocket (RFC 6455 §4.2.2).
public struct SwitchingProtocols: Sendable {
    /// The value of `Sec-WebSocket-Accept`.
    public let acceptKey: String
    /// The extensions that were agreed on, if any.
    public let extensions: String?
    /// The subprotocol that Sidesocket has chosen, if it and not the app has.
    public let subprotocol: String?
    private let reply: HTTPReplyHead?

    /// A response without fields of the app.
    public init(acceptKey: String, extensions: String?, subprotocol: String? = nil) {
        self.acceptKey = acceptKey
        self.extensions = extensions
        self.subprotocol = subprotocol
        reply = nil
    }

    /// The response when the app has accepted.
    ///
    /// - Parameters:
    ///   - reply: The app's 2xx reply; its end-to-end fields are passed on, except those that describe its body.
    ///   - offered: The subprotocols that the client offered, and that the app may choose.
    ///   - subprotocol: The one that Sidesocket chooses if the app chooses none.
    /// - Throws: The refusal when the app chose a subprotocol that was not offered.
    public init(
        acceptKey: String,
        extensions: String? = nil,
        reply: HTTPReplyHead,
        offered: [String],
        subprotocol: String? = nil
    ) throws(Refusal) {
        let chosen = reply.headers.values(of: "sec-websocket-protocol")
        if let first = chosen.first, chosen.count > 1 || !offered.contains(first) {
            throw Refusal(
                status: 502,
                sentence: "The application chose a subprotocol that was not offered.",
                reason: .subprotocol
            )
        }
        self.acceptKey = acceptKey
        self.extensions = extensions
        self.subprotocol = chosen.isEmpty ? subprotocol : nil
        self.reply = reply
    }

    /// Calls `body` with each field of the app that is passed on.
    func forEachAppField(_ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void) {
        reply?.forEachField(in: .webSocket, body)
    }
}
