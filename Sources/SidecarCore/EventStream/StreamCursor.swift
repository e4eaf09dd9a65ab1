public import NIOCore

/// The position of an event stream, as its client carries it in `Last-Event-ID`.
public struct StreamCursor: Sendable, Equatable {
    /// What the position consists of.
    public enum Place: Sendable, Equatable {
        /// The number of the last message in the order of all messages of a process.
        case process(epoch: UInt64, sequence: UInt64)
        /// A position in each channel of the stream.
        case channels([ChannelMark])
    }

    /// The most channels that a cursor names; a stream in more of them cannot be continued.
    public static let mostMarks = 256
    /// The longest text of a cursor of each kind, in bytes.
    private static let maxProcessBytes = 48
    private static let maxChannelsBytes = 8 << 10
    /// What a cursor by channel begins with; the other kind never contains a full stop.
    private static let channelsPrefix = "c."

    /// The position.
    public private(set) var place: Place
    /// Whose stream it is (``reader(_:)``); 0 when that does not matter.
    ///
    /// A returning client has a new connection id. From this it is known as the earlier connection, and does not get
    /// the messages that excluded that one. A forged reader only makes a client lose messages of its own.
    public let reader: UInt64

    /// Makes one.
    public init(_ place: Place, reader: UInt64 = 0) {
        self.place = place
        self.reader = reader
    }

    /// A position in the order of a process.
    public init(epoch: UInt64, sequence: UInt64, reader: UInt64 = 0) {
        self.init(.process(epoch: epoch, sequence: sequence), reader: reader)
    }

    /// The same position on another reader's stream.
    public func read(by reader: UInt64) -> StreamCursor { StreamCursor(place, reader: reader) }

    /// The position in the order of the process with this epoch; nil when it is of another one.
    public func sequence(in epoch: UInt64) -> UInt64? {
        guard case .process(epoch, let sequence) = place else { return nil }
        return sequence
    }

    /// The position in a channel; nil when the cursor names none.
    public func mark(of channel: ChannelName) -> ChannelMark? {
        guard case .channels(let marks) = place else { return nil }
        let hash = ChannelMark.hash(channel)
        return marks.first { $0.channel == hash }
    }

    /// Whether a client that has everything up to another cursor has everything up to this one.
    public func isCovered(by other: StreamCursor) -> Bool {
        switch place {
        case .process(let epoch, let sequence):
            StreamMark.process(epoch: epoch, sequence: sequence).isCovered(by: other)
        case .channels(let marks): marks.allSatisfy { StreamMark.channel($0).isCovered(by: other) }
        }
    }

    // MARK: Moving on

    /// The stream has got a message.
    public mutating func advance(by mark: StreamMark) {
        switch mark {
        case .process(let epoch, let sequence): place = .process(epoch: epoch, sequence: sequence)
        case .channel(let mark): set(mark)
        }
    }

    /// The stream has got everything up to another cursor.
    public mutating func advance(by other: StreamCursor) {
        switch other.place {
        case .process: place = other.place
        case .channels(let marks): for mark in marks { set(mark) }
        }
    }

    /// The stream is no longer in a channel.
    public mutating func leave(_ channel: ChannelName) {
        guard case .channels(var marks) = place else { return }
        place = .channels([])  // so that the marks are not copied
        let hash = ChannelMark.hash(channel)
        marks.removeAll { $0.channel == hash }
        place = .channels(marks)
    }

    private mutating func set(_ mark: ChannelMark) {
        guard case .channels(var marks) = place else { return place = .channels([mark]) }
        place = .channels([])  // so that the marks are not copied
        if let index = marks.firstIndex(where: { $0.channel == mark.channel }) {
            marks[index] = mark
        } else {
            marks.append(mark)
        }
        place = .channels(marks)
    }

    /// A connection in a cursor: a hash of its id (FNV-1a), which does not reveal the id; never 0.
    public static func reader(_ connectionID: String) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in connectionID.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return max(hash, 1)
    }
}

// MARK: As text

extension StreamCursor {
    /// Reads `Last-Event-ID`; nil when it is not a cursor.
    public init?(_ text: String) {
        if text.hasPrefix(Self.channelsPrefix) {
            self.init(channels: text)
        } else {
            self.init(process: text)
        }
    }

    private init?(process text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count), text.utf8.count <= Self.maxProcessBytes,
            let epoch = UInt64(parts[0], radix: 36), let sequence = UInt64(parts[1], radix: 36),
            let reader = parts.count == 2 ? 0 : UInt64(parts[2], radix: 36)
        else { return nil }
        self.init(epoch: epoch, sequence: sequence, reader: reader)
    }

    /// The reader, then for each channel its hash, the offset and the check, in base 36.
    private init?(channels text: String) {
        guard text.utf8.count <= Self.maxChannelsBytes else { return nil }
        let parts = text.dropFirst(Self.channelsPrefix.count).split(separator: ".", omittingEmptySubsequences: false)
        guard let first = parts.first, let reader = UInt64(first, radix: 36), parts.count - 1 <= Self.mostMarks else {
            return nil
        }
        var marks: [ChannelMark] = []
        for part in parts.dropFirst() {
            let numbers = part.split(separator: "-", omittingEmptySubsequences: false)
            guard numbers.count == 3 || numbers.count == 1, let channel = UInt32(numbers[0], radix: 36) else {
                return nil
            }
            guard numbers.count == 3 else {
                marks.append(ChannelMark(channel: channel, epoch: ChannelEpoch(0), offset: nil, check: 0))
                continue
            }
            guard let offset = UInt64(numbers[1], radix: 36), let check = UInt32(numbers[2], radix: 36) else {
                return nil
            }
            marks.append(ChannelMark(channel: channel, epoch: ChannelEpoch(0), offset: offset, check: check))
        }
        self.init(.channels(marks), reader: reader)
    }

    /// As it is written in `id`.
    public func write(into buffer: inout ByteBuffer) {
        // Each part fits into a small string, which allocates nothing.
        switch place {
        case .process(let epoch, let sequence):
            buffer.writeString(String(epoch, radix: 36))
            buffer.writeStaticString("-")
            buffer.writeString(String(sequence, radix: 36))
            guard reader != 0 else { return }
            buffer.writeStaticString("-")
            buffer.writeString(String(reader, radix: 36))
        case .channels(let marks):
            buffer.writeString(Self.channelsPrefix)
            buffer.writeString(String(reader, radix: 36))
            // Without the marks the client comes back with a cursor that covers none of its channels.
            guard marks.count <= Self.mostMarks else { return _ = buffer.writeStaticString("-") }
            for mark in marks {
                buffer.writeStaticString(".")
                buffer.writeString(String(mark.channel, radix: 36))
                guard let offset = mark.offset else { continue }
                buffer.writeStaticString("-")
                buffer.writeString(String(offset, radix: 36))
                buffer.writeStaticString("-")
                buffer.writeString(String(mark.check, radix: 36))
            }
        }
    }
}
