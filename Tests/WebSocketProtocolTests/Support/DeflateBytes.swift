import NIOCore

@testable import WebSocketProtocol

/// Makes and reads compressed payloads for tests.
enum DeflateBytes {
    /// Compressed as a client would, without the tail.
    static func compress(_ plain: [UInt8], windowBits: Int = 15) -> [UInt8] {
        var output = ByteBuffer()
        let tuning = Deflater.Tuning(windowBits: windowBits, memoryLevel: 8, level: 9)
        guard var deflater = Deflater(tuning), deflater.compress(ByteBuffer(bytes: plain), into: &output) else {
            return self.stored(plain)
        }
        return Array(output.readableBytesView)
    }

    /// In stored blocks of at most `size` bytes.
    static func stored(_ plain: [UInt8], blocksOf size: Int = 65535) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = plain[...]
        while !rest.isEmpty {
            let part = rest.prefix(size)
            rest = rest.dropFirst(size)
            let length = UInt16(part.count)
            for number in [length, ~length] {
                if number == length { bytes.append(0) }
                bytes += [UInt8(truncatingIfNeeded: number), UInt8(number >> 8)]
            }
            bytes += part
        }
        return bytes + [0]
    }

    /// The payload of a message that inflates to `count` zeros, without building the zeros.
    static func zeros(_ count: Int) -> [UInt8] {
        let chunk = 1 << 20
        guard count > chunk else { return Self.compress([UInt8](repeating: 0, count: count)) }
        // A full flush would do, too: the parts don't lean on each other and end between two bytes.
        let part = Self.compress([UInt8](repeating: 0, count: chunk)) + [0, 0, 0xFF, 0xFF]
        let whole = Array(repeatElement(part, count: count / chunk).joined())
        return whole + Self.zeros(count % chunk)
    }

    /// Inflates what one compressor made.
    static func inflate(_ compressed: ByteBuffer, with inflater: inout Inflater, count: Int) -> [UInt8]? {
        let input = Array(compressed.readableBytesView) + [0, 0, 0xFF, 0xFF]
        var output = [UInt8](repeating: 0, count: count + 1)
        let step = input.withUnsafeBytes { input in
            output.withUnsafeMutableBytes { inflater.inflate(input, into: $0) }
        }
        guard step.consumed == input.count, inflater.isBetweenBlocks else { return nil }
        return Array(output.prefix(step.produced))
    }
}

extension NegotiatedDeflate {
    /// What comes of a plain offer.
    static let plain = NegotiatedDeflate.accepting("permessage-deflate")
    /// What comes of a plain offer when contexts may be kept.
    static let keepingContext = NegotiatedDeflate.accepting(
        "permessage-deflate",
        DeflateSettings(allowContextTakeover: true)
    )

    /// For offers that must be accepted.
    static func accepting(_ offer: String, _ settings: DeflateSettings = DeflateSettings()) -> NegotiatedDeflate {
        guard let deflate = NegotiatedDeflate(offers: [offer], settings: settings) else {
            fatalError("the offer is declined: \(offer)")
        }
        return deflate
    }
}

/// All that a reader with compression reports about `bytes`, fed in pieces of `step` bytes.
func deflateTranscript(
    _ bytes: [UInt8],
    step: Int = .max,
    deflate: NegotiatedDeflate = .plain,
    maxMessageBytes: Int = 1 << 20,
    maxFragments: Int = 1 << 20,
    ratio: Int? = nil,
    codecs: DeflateCodecs = DeflateCodecs()
) -> [Heard] {
    let limits = MessageLimits(
        maxMessageBytes: maxMessageBytes,
        maxFragments: maxFragments,
        maxCompressionRatio: ratio
    )
    let listener = Listener(deflate: deflate, codecs: codecs, limits: limits)
    listener.feed(bytes, step: step)
    return listener.heard
}
