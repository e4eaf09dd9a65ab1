public import NIOCore

extension ByteBuffer {
    /// A GET of our own, whole; its connection closes after the response.
    ///
    /// - Parameters:
    ///   - path: The path and query, in the form that goes out.
    ///   - authority: The value of `Host`.
    ///   - accept: The value of `Accept`; nil for none.
    public init(get path: String, authority: String, userAgent: StaticString, accept: StaticString? = nil) {
        self.init()
        writeString("GET \(path) HTTP/1.1\r\nHost: \(authority)\r\nUser-Agent: ")
        writeStaticString(userAgent)
        if let accept {
            writeStaticString("\r\nAccept: ")
            writeStaticString(accept)
        }
        writeStaticString("\r\nConnection: close\r\n\r\n")
    }
}
