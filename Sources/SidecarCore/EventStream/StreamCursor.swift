public import NIOCore

/// The position of an event among all publications of a process, as clients of event streams carry it.
public struct StreamCursor: Sendable, Equatable {
    /// The longest text of a cursor, in bytes.
    private static let maxBytes = 48

    /// Identifies the process; positions of another process mean something else.
    public let epoch: UInt64
    /// The number of publications up to this one.
    public let sequence: UInt64
    /// Whose stream it is (``reader(_:)``); 0 when that does not matter.
    ///
    /// A returning client has a new connection id. From this it is known as the earlier connection, and does not get
    /// the messages that excluded that one. A forged reader only makes a client lose messages of its own.
    public let reader: UInt64

    /// Makes one.
    public init(epoch: UInt64, sequence: UInt64, reader: UInt64 = 0) {
        self.epoch = epoch
        self.sequence = sequence
        self.reader = reader
    }

    /// Reads `Last-Event-ID`; nil when it is not a cursor.
    public init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count), text.utf8.count <= Self.maxBytes,
            let epoch = UInt64(parts[0], radix: 36), let sequence = UInt64(parts[1], radix: 36),
            let reader = parts.count == 2 ? 0 : UInt64(parts[2], radix: 36)
        else { return nil }
        self.init(epoch: epoch, sequence: sequence, reader: reader)
    }

    /// The same position on another reader's stream.
    public func read(by reader: UInt64) -> StreamCursor {
        StreamCursor(epoch: epoch, sequence: sequence, reader: reader)
    }

    /// Whether a client that has everything up to the other position has this event.
    public func isCovered(by other: StreamCursor) -> Bool { epoch == other.epoch && sequence <= other.sequence }

    /// As it is written in `id`.
    public func write(into buffer: inout ByteBuffer) {
        // Each part fits into a small string, which allocates nothing.
        buffer.writeString(String(epoch, radix: 36))
        buffer.writeStaticString("-")
        buffer.writeString(String(sequence, radix: 36))
        guard reader != 0 else { return }
        buffer.writeStaticString("-")
        buffer.writeString(String(reader, radix: 36))
    }

    /// A connection in a cursor: a hash of its id (FNV-1a), which does not reveal the id; never 0.
    public static func reader(_ connectionID: String) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in connectionID.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return max(hash, 1)
    }
}
