public import NIOCore

/// Writes the frames of a server: unmasked, final, with lengths as short as they can be (RFC 6455 §5.2).
public enum FrameEncoder {
    /// The bytes that the header of a frame with this payload takes: 2, 4 or 10.
    public static func headerLength(payloadLength: Int) -> Int {
        switch payloadLength {
        case ...125: 2
        case ...0xFFFF: 4
        default: 10
        }
    }

    /// Writes the header alone; the caller puts `payloadLength` bytes behind it.
    ///
    /// - Parameter compressed: sets RSV1, which says that the payload is a message compressed by the negotiated
    ///   permessage-deflate (RFC 7692 §6).
    public static func writeHeader(
        _ opcode: FrameOpcode,
        payloadLength: Int,
        compressed: Bool = false,
        into buffer: inout ByteBuffer
    ) {
        let first = Self.firstByte(opcode, compressed: compressed)
        switch payloadLength {
        case ...125:
            buffer.writeMultipleIntegers(first, UInt8(clamping: payloadLength))
        case ...0xFFFF:
            buffer.writeMultipleIntegers(first, UInt8(126), UInt16(clamping: payloadLength))
        default:
            buffer.writeMultipleIntegers(first, UInt8(127), UInt64(payloadLength))
        }
    }

    /// Writes a whole frame with a copy of the readable bytes of `payload`.
    ///
    /// - Parameter compressed: sets RSV1; `payload` then comes from a ``MessageCompressor``.
    public static func write(
        _ opcode: FrameOpcode,
        payload: ByteBuffer,
        compressed: Bool = false,
        into buffer: inout ByteBuffer
    ) {
        let length = payload.readableBytes
        let headerLength = Self.headerLength(payloadLength: length)
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: headerLength + length) { memory in
            memory[0] = Self.firstByte(opcode, compressed: compressed)
            switch headerLength {
            case 2:
                memory[1] = UInt8(truncatingIfNeeded: length)
            case 4:
                memory[1] = 126
                memory.storeBytes(of: UInt16(truncatingIfNeeded: length).bigEndian, toByteOffset: 2, as: UInt16.self)
            default:
                memory[1] = 127
                memory.storeBytes(of: UInt64(length).bigEndian, toByteOffset: 2, as: UInt64.self)
            }
            payload.withUnsafeReadableBytes { bytes in
                UnsafeMutableRawBufferPointer(rebasing: memory[headerLength...]).copyMemory(from: bytes)
            }
            return headerLength + length
        }
    }

    @inline(__always)
    private static func firstByte(_ opcode: FrameOpcode, compressed: Bool) -> UInt8 {
        0x80 | (compressed ? 0x40 : 0) | opcode.rawValue
    }

    /// Writes a Close frame; a code that must not travel gives an empty body, as does no code.
    ///
    /// - Parameter reason: at most 123 bytes of UTF-8. A longer one would make a frame that clients must refuse (§5.5)
    ///   and is left out; so is any when there is no code (§5.5.1).
    public static func writeClose(_ code: CloseCode?, reason: String, into buffer: inout ByteBuffer) {
        guard let code, code.mayTravel else {
            Self.writeHeader(.close, payloadLength: 0, into: &buffer)
            return
        }
        let reason = 2 + reason.utf8.count <= 125 ? reason : ""
        Self.writeHeader(.close, payloadLength: 2 + reason.utf8.count, into: &buffer)
        buffer.writeInteger(code.rawValue)
        buffer.writeString(reason)
    }
}
