import NIOCore
import SidecarCore

/// A message as it is published and kept: what the engine assigned, in one line of text, and what the publisher wrote.
///
/// ```
/// 1 EPOCH OFFSET ID PREDECESSOR TIME LF BODY
/// ```
/// The epoch is in base 36, the ids are 16 hexadecimal digits, offset and time (milliseconds since 1970 by the engine's
/// clock) are decimal.
struct MessageFrame: Sendable, Equatable {
    let point: ChannelPoint
    /// The message before it in the channel; 0 for the first one of an epoch.
    let predecessor: MessageID
    /// When it was published, in milliseconds since 1970.
    let time: Int64
    let body: MessageBody

    /// Whether it follows a message with nothing in between.
    func follows(_ point: ChannelPoint) -> Bool {
        self.point.epoch == point.epoch && self.point.offset == point.offset &+ 1 && predecessor == point.id
    }

    /// The message before it.
    var before: ChannelPoint { ChannelPoint(epoch: point.epoch, offset: point.offset &- 1, id: predecessor) }

    /// Reads a frame.
    init(_ frame: ByteBuffer) throws(FrameFault) {
        let view = frame.readableBytesView
        guard let end = view.prefix(Self.maxLine).firstIndex(of: UInt8(ascii: "\n")) else { throw .noLine }
        let line = String(decoding: view[..<end], as: UTF8.self)
        guard line.hasPrefix("1 ") else { throw .otherVersion }
        guard let stamp = PublicationStamp(line.dropFirst(2)) else { throw .badLine }
        point = stamp.point
        predecessor = stamp.predecessor
        time = stamp.time
        var rest = frame
        rest.moveReaderIndex(forwardBy: end - view.startIndex + 1)
        body = try MessageBody(rest)
    }

    /// The longest first line, in bytes.
    private static let maxLine = 128
}

/// What the engine assigns to a publication.
struct PublicationStamp: Sendable, Equatable {
    let point: ChannelPoint
    let predecessor: MessageID
    let time: Int64

    /// Until the year 9999, which can be written.
    private static let times: ClosedRange<Int64> = 0...253_402_300_799_999

    /// Reads `EPOCH OFFSET ID PREDECESSOR TIME`; nil for anything else.
    init?(_ text: some StringProtocol) {
        let parts = text.split(separator: " ", omittingEmptySubsequences: false)
        guard parts.count == 5, let point = ChannelPoint(parts[0], parts[1], parts[2]),
            let predecessor = MessageID(parts[3]), let time = Int64(parts[4]), Self.times.contains(time)
        else { return nil }
        self.point = point
        self.predecessor = predecessor
        self.time = time
    }
}

extension ChannelPoint {
    /// Reads the three parts of a point; nil when one is malformed.
    init?(_ epoch: some StringProtocol, _ offset: some StringProtocol, _ id: some StringProtocol) {
        guard let epoch = UInt64(epoch, radix: 36), let offset = UInt64(offset), let id = MessageID(id) else {
            return nil
        }
        self.init(epoch: ChannelEpoch(epoch), offset: offset, id: id)
    }
}

/// Why a frame cannot be read.
enum FrameFault: Error, Sendable, Equatable {
    case noLine
    case otherVersion
    case badLine
    case badBody

    /// For the log.
    var sentence: String {
        switch self {
        case .noLine, .badLine: "a message does not begin with a line of Sidesocket's"
        case .otherVersion: "a message has a format of another version of Sidesocket"
        case .badBody: "a message is cut off or malformed"
        }
    }
}
