/// The parsed first 6 to 14 bytes of a frame from a client (RFC 6455 §5.2).
struct FrameHeader: Equatable {
    /// RSV1 in the first byte.
    private static let compressedBit: UInt8 = 0x40

    let opcode: FrameOpcode
    let isFinal: Bool
    /// RSV1, which marks the first frame of a compressed message (RFC 7692 §6).
    let isCompressed: Bool
    let payloadLength: Int
    let mask: PayloadMask
    /// The bytes that the header itself takes.
    let headerLength: Int
}

/// What the frames before allow the next frame to be.
struct FrameContext {
    let isInsideMessage: Bool
    /// The payload bytes that a data frame may still add to the open message, or an uncompressed one begin with.
    let bytesLeft: Int
    /// The payload bytes that a compressed message may begin with; nil when compression was not negotiated.
    let compressedBytesLeft: Int?
    /// The frames that the message may still have.
    let fragmentsLeft: Int
}

extension FrameHeader {
    /// Reads the header at the front of `bytes`, or returns nil when it is not whole yet.
    ///
    /// Every rule is applied at the first byte that makes its violation certain, in the order of the bytes. So a frame
    /// that claims too much is refused before its mask key is there, and a stream gives the same verdict wherever
    /// the network cuts it.
    static func parse(
        _ bytes: UnsafeRawBufferPointer,
        in context: FrameContext
    ) throws(ProtocolViolation) -> FrameHeader? {
        guard bytes.count >= 1 else { return nil }
        let first = bytes[0]
        let opcode = try Self.opcode(first, in: context)

        guard bytes.count >= 2 else { return nil }
        let second = bytes[1]
        guard second & 0x80 != 0 else { throw .unmaskedFrame }
        let shortLength = Int(second & 0x7F)
        if opcode.isControl && shortLength > 125 { throw .controlFrameTooLong }
        if opcode == .close && shortLength == 1 { throw .closeBodyTooShort }
        let isCompressed = first & Self.compressedBit != 0
        let allowed = opcode.isControl ? 125 : isCompressed ? context.compressedBytesLeft ?? 0 : context.bytesLeft

        let payloadLength: Int
        let lengthEnd: Int
        switch shortLength {
        case 126:
            lengthEnd = 4
            guard let length = try Self.extendedLength(bytes, width: 2, minimum: 126, allowed: allowed) else {
                return nil
            }
            payloadLength = length
        case 127:
            lengthEnd = 10
            guard let length = try Self.extendedLength(bytes, width: 8, minimum: 1 << 16, allowed: allowed) else {
                return nil
            }
            payloadLength = length
        default:
            lengthEnd = 2
            if shortLength > allowed { throw .messageTooBig }
            payloadLength = shortLength
        }

        guard bytes.count >= lengthEnd + 4 else { return nil }
        return FrameHeader(
            opcode: opcode,
            isFinal: first & 0x80 != 0,
            isCompressed: isCompressed,
            payloadLength: payloadLength,
            mask: PayloadMask(bytes[lengthEnd], bytes[lengthEnd + 1], bytes[lengthEnd + 2], bytes[lengthEnd + 3]),
            headerLength: lengthEnd + 4
        )
    }

    /// Judges the first byte: FIN, the reserved bits and the opcode.
    private static func opcode(_ byte: UInt8, in context: FrameContext) throws(ProtocolViolation) -> FrameOpcode {
        guard let opcode = FrameOpcode(rawValue: byte & 0x0F) else { throw .reservedOpcode }
        try Self.checkReservedBits(byte, of: opcode, in: context)
        switch opcode {
        case .close, .ping, .pong:
            guard byte & 0x80 != 0 else { throw .fragmentedControlFrame }
        case .continuation:
            guard context.isInsideMessage else { throw .unexpectedContinuation }
            guard context.fragmentsLeft > 0 else { throw .tooManyFragments }
        case .text, .binary:
            guard !context.isInsideMessage else { throw .messageInterrupted }
        }
        return opcode
    }

    /// Refuses bits that no negotiated extension gave a meaning.
    ///
    /// RSV1 belongs on the first frame of a compressed message and on no other (RFC 7692 §6.1).
    private static func checkReservedBits(
        _ byte: UInt8,
        of opcode: FrameOpcode,
        in context: FrameContext
    ) throws(ProtocolViolation) {
        guard byte & 0x30 == 0 else { throw .reservedBitSet }
        guard byte & Self.compressedBit != 0 else { return }
        guard context.compressedBytesLeft != nil, opcode == .text || opcode == .binary else { throw .reservedBitSet }
    }

    /// Reads the big-endian length that follows the first two bytes, or returns nil when more bytes are needed.
    ///
    /// The bytes that are there bound the value from both sides, which settles both rules as early as possible.
    private static func extendedLength(
        _ bytes: UnsafeRawBufferPointer,
        width: Int,
        minimum: UInt64,
        allowed: Int
    ) throws(ProtocolViolation) -> Int? {
        let present = min(bytes.count - 2, width)
        if width == 8 && present >= 1 && bytes[2] & 0x80 != 0 { throw .negativeLength }
        var value: UInt64 = 0
        for index in 0..<present {
            value = value << 8 | UInt64(bytes[2 + index])
        }
        // Shifts past the width of the type give zero here, they don't trap.
        let missingBits = 8 * (width - present)
        let lowest = value << missingBits
        let highest = lowest | (UInt64(1) << missingBits &- 1)
        if present > 0 && highest < minimum { throw .nonMinimalLength }
        if lowest > UInt64(allowed) { throw .messageTooBig }
        return present == width ? Int(value) : nil
    }
}
