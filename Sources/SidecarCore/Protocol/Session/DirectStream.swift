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
}
