public import HTTP1

/// The 101 response that opens a WebSocket (RFC 6455 §4.2.2).
public struct SwitchingProtocols: Sendable {
    /// The value of `Sec-WebSocket-Accept`.
    public let acceptKey: String
    /// The extensions that were agreed on, if any.
    public let extensions: String?
    private let reply: HTTPReplyHead?

    /// A response without fields of the app.
    public init(acceptKey: String, extensions: String?) {
        self.acceptKey = acceptKey
        self.extensions = extensions
        reply = nil
    }

    /// The response when the app has accepted.
    ///
    /// - Parameters:
    ///   - reply: The app's 2xx reply; its end-to-end fields are passed on, except those that describe its body.
    ///   - offered: The subprotocols that the client offered.
    /// - Throws: The refusal when the app chose a subprotocol that was not offered.
    public init(
        acceptKey: String,
        extensions: String? = nil,
        reply: HTTPReplyHead,
        offered: [String]
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
        self.reply = reply
    }

    /// Calls `body` with each field of the app that is passed on.
    func forEachAppField(_ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void) {
        reply?.forEachField(in: .webSocket, body)
    }
}
