public import NIOCore

/// What the events of one connection begin with: the request line and the fields that never change for it.
public struct EventPrefix: Sendable, Equatable {
    /// What every event after `open` begins with.
    public let bytes: ByteBuffer
    private let startLength: Int

    /// One that was made before, for a connection whose `open` event the app has had.
    public init(_ bytes: ByteBuffer) {
        self.init(bytes, startLength: bytes.readableBytes)
    }

    init(_ bytes: ByteBuffer, startLength: Int) {
        self.bytes = bytes
        self.startLength = startLength
    }

    /// Without the fields of the handshake that are repeated on every event.
    var start: ByteBuffer { bytes.getSlice(at: bytes.readerIndex, length: startLength) ?? bytes }

    /// What it says in `ce-subject`, in plain text.
    public var subject: String {
        let field = Array("\r\nce-subject: ".utf8)
        let bytes = bytes.readableBytesView
        var index = bytes.startIndex
        while let start = bytes[index...].firstIndex(of: UInt8(ascii: "\r")) {
            if bytes[start...].starts(with: field) {
                return PercentEncoding.decoded(bytes[(start + field.count)...].prefix { $0 != 0x0D })
            }
            index = start + 1
        }
        return ""
    }
}
