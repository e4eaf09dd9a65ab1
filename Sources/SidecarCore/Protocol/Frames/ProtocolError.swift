public import NIOCore

/// Why something that a client wanted was not done, as an `$error` frame says it. The connection stays open.
public struct ProtocolError: Sendable, Equatable {
    /// The kinds of errors, the `code` of the frame.
    public enum Code: String, Sendable, CaseIterable {
        /// The frame breaks a rule of the protocol.
        case badFrame = "bad_frame"
        /// The app has refused the message with a 4xx.
        case rejected
        /// The app has failed at the message, or its reply was invalid.
        case failed
        /// The app could not be reached for as long as messages are retried.
        case unavailable
        /// The client sends too much.
        case rateLimited = "rate_limited"
        /// The token is not valid.
        case unauthorized
        /// The message with this id is being handled; its answer follows.
        case inProgress = "in_progress"
        /// The client may not do this.
        case forbidden
    }

    /// What the app has said about it.
    public struct Content: Sendable, Equatable {
        /// What kind of data it is.
        public let format: MessageFormat
        /// The body of the app's reply.
        public let payload: ByteBuffer

        /// A body of a reply.
        public init(_ format: MessageFormat, _ payload: ByteBuffer) {
            self.format = format
            self.payload = payload
        }
    }

    /// The id of the message that it is about, if there is one.
    public let id: String?
    /// The kind of error.
    public let code: Code
    /// The status of the app's reply, if it has replied.
    public let status: Int?
    /// One plain sentence for the developer of the client.
    public let message: String
    /// Whether the same may succeed later.
    public let mayRetry: Bool
    /// After how many milliseconds it may; nil where that is not known.
    public let retryAfter: Int64?
    /// What the app has said about it, if it has.
    public let content: Content?

    /// An error of ours.
    public init(_ code: Code, about id: String?, _ message: String) {
        self.init(code, about: id, message, status: nil, mayRetry: code == .unavailable, content: nil)
    }

    /// The client has sent too much, and may send again after so many milliseconds.
    public init(rateLimited id: String?, retryAfter: Int64) {
        self.init(
            .rateLimited,
            about: id,
            "Too many events.",
            status: nil,
            mayRetry: true,
            retryAfter: retryAfter,
            content: nil
        )
    }

    init(
        _ code: Code,
        about id: String?,
        _ message: String,
        status: Int?,
        mayRetry: Bool,
        retryAfter: Int64? = nil,
        content: Content?
    ) {
        self.retryAfter = retryAfter
        self.code = code
        self.id = id
        self.message = message
        self.status = status
        self.mayRetry = mayRetry
        self.content = content
    }

    /// What a client is told when the app did not accept its message.
    ///
    /// - Parameter content: What the app has said; passed on only where it has refused the message, since what it says of
    ///   its own failures is not for clients.
    public init(_ failure: DeliveryFailure, about id: String, content: Content?) {
        switch failure {
        case _ where failure.isTransient:
            self.init(
                .unavailable,
                about: id,
                "The application is not available.",
                status: nil,
                mayRetry: true,
                content: nil
            )
        case .status(let status) where (400..<500).contains(status):
            self.init(
                .rejected,
                about: id,
                "The application refused the message.",
                status: status,
                mayRetry: false,
                content: content
            )
        default:
            self.init(.failed, about: id, "The application failed.", status: nil, mayRetry: false, content: nil)
        }
    }

    /// The same without what the app has said.
    func withoutContent() -> ProtocolError { with(nil) }

    /// The same with what the app has said in memory of its own, not as a part of what was read with it.
    public func compacted() -> ProtocolError {
        with(content.map { Content($0.format, ByteBuffer(bytes: $0.payload.readableBytesView)) })
    }

    private func with(_ content: Content?) -> ProtocolError {
        ProtocolError(code, about: id, message, status: status, mayRetry: mayRetry, content: content)
    }
}
