import NIOCore

extension ByteBuffer {
    /// A GET of our own, whole; its connection closes after the response.
    ///
    /// - Parameter fields: More header fields, each line with its end.
    init(get path: String, authority: String, userAgent: StaticString, fields: StaticString = "") {
        self.init()
        writeString("GET \(path) HTTP/1.1\r\nHost: \(authority)\r\nUser-Agent: ")
        writeStaticString(userAgent)
        writeStaticString("\r\n")
        writeStaticString(fields)
        writeStaticString("Connection: close\r\n\r\n")
    }
}
