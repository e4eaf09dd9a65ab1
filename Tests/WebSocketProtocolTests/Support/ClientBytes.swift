import NIOCore
import WebSocketProtocol

/// Builds what a client sends, byte by byte, so that the tests don't lean on the code under test.
enum ClientBytes {
    /// How a length is written.
    enum Width {
        case minimal, sixteen, sixtyFour
    }

    static let key: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]

    /// One frame; `first` is the whole first byte.
    static func frame(
        _ first: UInt8,
        _ payload: [UInt8] = [],
        key: [UInt8]? = ClientBytes.key,
        width: Width = .minimal
    ) -> [UInt8] {
        var bytes = Self.header(first, length: UInt64(payload.count), key: key, width: width)
        for (index, byte) in payload.enumerated() {
            bytes.append(key.map { byte ^ $0[index % 4] } ?? byte)
        }
        return bytes
    }

    /// A header alone, which may claim any length.
    static func header(
        _ first: UInt8,
        length: UInt64,
        key: [UInt8]? = ClientBytes.key,
        width: Width = .minimal
    ) -> [UInt8] {
        let maskBit: UInt8 = key == nil ? 0 : 0x80
        var bytes = [first]
        switch width {
        case .minimal where length < 126:
            bytes.append(maskBit | UInt8(length))
        case .sixteen,
            .minimal where length < 65536:
            bytes.append(maskBit | 126)
            bytes += Self.bigEndian(length, count: 2)
        default:
            bytes.append(maskBit | 127)
            bytes += Self.bigEndian(length, count: 8)
        }
        return bytes + (key ?? [])
    }

    /// The frames of a message of which `payload` is sent; `first` is the first byte of its first frame without FIN.
    static func fragments(_ first: UInt8, _ payload: [UInt8], of size: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = payload[...]
        var byte = first
        repeat {
            let part = rest.prefix(size)
            rest = rest.dropFirst(size)
            bytes += Self.frame(byte | (rest.isEmpty ? 0x80 : 0), Array(part))
            byte = 0
        } while !rest.isEmpty
        return bytes
    }

    static func text(_ text: String) -> [UInt8] { Self.frame(0x81, Array(text.utf8)) }

    static func close(_ code: UInt16, _ reason: [UInt8] = []) -> [UInt8] {
        Self.frame(0x88, Self.bigEndian(UInt64(code), count: 2) + reason)
    }

    static func bigEndian(_ value: UInt64, count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64(count - 1 - $0))) }
    }
}

/// One thing that a reader reported.
enum Heard: Equatable {
    case event(WebSocketEvent)
    case violation(ProtocolViolation)

    static func text(_ text: String) -> Heard { .event(.message(.text, ByteBuffer(string: text))) }
    static func binary(_ bytes: [UInt8]) -> Heard { .event(.message(.binary, ByteBuffer(bytes: bytes))) }
    static func ping(_ bytes: [UInt8] = []) -> Heard { .event(.ping(ByteBuffer(bytes: bytes))) }
    static func pong(_ bytes: [UInt8] = []) -> Heard { .event(.pong(ByteBuffer(bytes: bytes))) }
    static func close(_ code: UInt16?, _ reason: String = "") -> Heard {
        .event(.close(code.map(CloseCode.init(rawValue:)), reason: reason))
    }
}

/// A reader with its buffer, fed as a socket would.
final class Listener {
    var reader: MessageReader
    var buffer = ByteBuffer()
    var heard: [Heard] = []
    /// The most bytes that the reader left for later.
    var mostLeft = 0

    init(maxMessageBytes: Int = 1 << 20, maxFragments: Int = 128) {
        self.reader = MessageReader(
            limits: MessageLimits(maxMessageBytes: maxMessageBytes, maxFragments: maxFragments)
        )
    }

    init(deflate: NegotiatedDeflate, codecs: DeflateCodecs, limits: MessageLimits) {
        self.reader = MessageReader(limits: limits, deflate: deflate, codecs: codecs)
    }

    var isAssembling: Bool { self.reader.isAssembling }

    func feed(_ bytes: some Sequence<UInt8>) {
        self.buffer.writeBytes(bytes)
        do throws(ProtocolViolation) {
            while let event = try self.reader.next(from: &self.buffer) {
                self.heard.append(.event(event))
            }
        } catch {
            self.heard.append(.violation(error))
        }
        self.mostLeft = max(self.mostLeft, self.buffer.readableBytes)
    }

    /// Feeds `bytes` in pieces of `step`.
    func feed(_ bytes: [UInt8], step: Int) {
        var rest = bytes[...]
        while !rest.isEmpty {
            self.feed(rest.prefix(step))
            rest = rest.dropFirst(step)
        }
    }
}

/// All that a reader reports about `bytes`, fed in pieces of `step` bytes.
func transcript(
    _ bytes: [UInt8],
    step: Int = .max,
    maxMessageBytes: Int = 1 << 20,
    maxFragments: Int = 128
) -> [Heard] {
    let listener = Listener(maxMessageBytes: maxMessageBytes, maxFragments: maxFragments)
    listener.feed(bytes, step: step)
    return listener.heard
}
