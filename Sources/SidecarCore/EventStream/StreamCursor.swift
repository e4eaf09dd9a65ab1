public import NIOCore

/// The place of an event among all publications of a process, as clients of event streams carry it.
public struct StreamCursor: Sendable, Equatable {
    /// The longest form, in bytes.
    private static let maxBytes = 48

    /// Of the process: another one has other places.
    public let epoch: UInt64
    /// The publications up to it.
    public let sequence: UInt64
    /// Whose stream it is, as ``reader(_:)`` has it; 0 when nobody needs to know.
    ///
    /// A client that comes again is another connection, and by this does not get what the earlier one was left out of.
    /// One that claims to be somebody else keeps messages from itself alone.
    public let reader: UInt64

    /// Makes one.
    public init(epoch: UInt64, sequence: UInt64, reader: UInt64 = 0) {
        self.epoch = epoch
        self.sequence = sequence
        self.reader = reader
    }

    /// Reads `Last-Event-ID`; nil for what is none of ours.
    public init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count), text.utf8.count <= Self.maxBytes,
            let epoch = UInt64(parts[0], radix: 36), let sequence = UInt64(parts[1], radix: 36),
            let reader = parts.count == 2 ? 0 : UInt64(parts[2], radix: 36)
        else { return nil }
        self.init(epoch: epoch, sequence: sequence, reader: reader)
    }

    /// The same place on the stream of somebody else.
    public func read(by reader: UInt64) -> StreamCursor {
        StreamCursor(epoch: epoch, sequence: sequence, reader: reader)
    }

    /// Whether whoever knows everything up to the other place knows this event.
    public func isCovered(by other: StreamCursor) -> Bool { epoch == other.epoch && sequence <= other.sequence }

    /// As it stands in `id`.
    public func write(into buffer: inout ByteBuffer) {
        // Each part is short enough to need no memory of its own.
        buffer.writeString(String(epoch, radix: 36))
        buffer.writeStaticString("-")
        buffer.writeString(String(sequence, radix: 36))
        guard reader != 0 else { return }
        buffer.writeStaticString("-")
        buffer.writeString(String(reader, radix: 36))
    }

    /// A connection in a cursor: a hash of its id (FNV-1a), which does not tell the id; never 0.
    public static func reader(_ connectionID: String) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in connectionID.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return max(hash, 1)
    }
}
