import DequeModule
public import NIOCore

/// The messages to one session outside of channels: their numbers, and those that the client may not have got.
public struct DirectStream: Sendable {
    private struct Kept: Sendable {
        let seq: UInt64
        let frame: ByteBuffer
    }

    /// What a kept message counts for beyond its frame, in bytes.
    static let overhead = 128

    /// The number of the last message; 0 before the first.
    public private(set) var last: UInt64 = 0
    /// What the kept messages count for, in bytes.
    public private(set) var keptBytes = 0
    /// The client has everything up to here, or cannot get it any more.
    private var freed: UInt64 = 0
    private var kept: Deque<Kept> = []

    /// A stream without messages.
    public init() {}

    /// The number of the next message.
    public var next: UInt64 { last + 1 }

    /// A message goes to the client.
    ///
    /// - Parameters:
    ///   - frame: Its frame, with ``next`` as its number.
    ///   - limit: What may be kept, in bytes; one message may always be.
    /// - Returns: False when that is exceeded, and earlier messages are no longer kept.
    public mutating func append(_ frame: ByteBuffer, limit: Int) -> Bool {
        let bytes = frame.readableBytes + Self.overhead
        let fits = kept.isEmpty || keptBytes + bytes <= limit
        if !fits { forget() }
        last += 1
        kept.append(Kept(seq: last, frame: frame))
        keptBytes += bytes
        return fits
    }

    /// A message goes to the client, and is not kept.
    public mutating func count() {
        forget()
        last += 1
        freed = last
    }

    /// Keeps nothing of what was sent so far: the client cannot resume before it has acknowledged all of it.
    public mutating func forget() {
        freed = last
        kept = []
        keptBytes = 0
    }

    /// The client has everything up to a number.
    ///
    /// - Returns: False when there was no such message.
    public mutating func acknowledge(_ seq: UInt64) -> Bool {
        guard seq <= last else { return false }
        while let first = kept.first, first.seq <= seq {
            kept.removeFirst()
            keptBytes -= first.frame.readableBytes + Self.overhead
        }
        if kept.isEmpty { kept = [] }  // so that an idle session keeps no storage
        freed = max(freed, seq)
        return true
    }

    /// The frames of the messages behind a number; nil when some of them are not kept, or there was no such message.
    public func frames(after seq: UInt64) -> [ByteBuffer]? {
        guard seq >= freed, seq <= last else { return nil }
        return kept.lazy.filter { $0.seq > seq }.map(\.frame)
    }

    // MARK: Record

    private enum Tag {
        static let last: UInt8 = 1
        static let freed: UInt8 = 2
        static let frame: UInt8 = 3
    }

    /// For another node.
    var record: [UInt8] {
        var writer = JournalWriter(capacity: 64 + keptBytes)
        writer.write(Tag.last, number: last)
        writer.write(Tag.freed, number: freed)
        for one in kept {
            writer.write(Tag.frame, name: JournalWriter.bytes(of: one.seq), value: one.frame.readableBytesView)
        }
        return writer.record
    }

    init(record: [UInt8]) throws(JournalFault) {
        var reader = try JournalReader(record)
        last = try reader.number(Tag.last)
        freed = try reader.number(Tag.freed)
        while let (name, value) = try reader.takePair(Tag.frame) {
            let seq = JournalReader.number(name)
            guard name.count == 8, seq > kept.last?.seq ?? freed, seq <= last else { throw .malformed }
            kept.append(Kept(seq: seq, frame: ByteBuffer(bytes: value)))
            keptBytes += value.count + Self.overhead
        }
        // The numbers must leave room for those that follow.
        guard freed <= last, last < 1 << 62 else { throw .malformed }
    }
}
