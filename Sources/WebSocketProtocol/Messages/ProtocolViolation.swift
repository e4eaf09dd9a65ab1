/// Each way in which a peer can break RFC 6455 or RFC 7692, or a limit of ours, with the close code that answers it.
///
/// It is an expected value and not a fault of ours: the connection is closed with ``closeCode`` and ``reason``.
public enum ProtocolViolation: Error, Equatable, Sendable, CaseIterable {
    /// A reserved bit is set that no extension gave a meaning (§5.2).
    case reservedBitSet
    /// The opcode is one of 3–7 and 11–15 (§5.2).
    case reservedOpcode
    /// A frame from the client is not masked (§5.1).
    case unmaskedFrame
    /// A length is written in more bytes than it needs (§5.2).
    case nonMinimalLength
    /// A 64-bit length has its top bit set (§5.2).
    case negativeLength
    /// A control frame is longer than 125 bytes (§5.5).
    case controlFrameTooLong
    /// A control frame lacks FIN (§5.5).
    case fragmentedControlFrame
    /// A continuation frame comes when no message is open (§5.4).
    case unexpectedContinuation
    /// A text or binary frame comes inside a message (§5.4).
    case messageInterrupted
    /// A Close frame has a body of one byte (§5.5.1).
    case closeBodyTooShort
    /// A Close frame has a code that must not travel (§7.4).
    case invalidCloseCode
    /// The reason in a Close frame is not UTF-8 (§5.5.1).
    case invalidCloseReason
    /// A text message is not UTF-8 (§8.1).
    case invalidText
    /// A message is longer than the limit (§10.4).
    case messageTooBig
    /// A message has more frames than the limit (§10.4).
    case tooManyFragments
    /// A compressed message is not DEFLATE data, or ends inside a block (RFC 7692 §7.2.2).
    case invalidCompressedData
    /// A compressed message inflates to more than the allowed multiple of what was sent (§10.4).
    case compressionRatio

    /// The code to close the connection with: 1002, 1007 or 1009 (§7.4.1).
    public var closeCode: CloseCode {
        switch self {
        case .reservedBitSet, .reservedOpcode, .unmaskedFrame, .nonMinimalLength, .negativeLength,
            .controlFrameTooLong, .fragmentedControlFrame, .unexpectedContinuation, .messageInterrupted,
            .closeBodyTooShort, .invalidCloseCode:
            .protocolError
        case .invalidCloseReason, .invalidText, .invalidCompressedData: .invalidPayload
        case .messageTooBig, .tooManyFragments, .compressionRatio: .tooBig
        }
    }

    /// A plain sentence for the Close frame, at most 123 bytes.
    public var reason: String {
        switch self {
        case .reservedBitSet: "A reserved bit is set without an extension that uses it."
        case .reservedOpcode: "The opcode is reserved."
        case .unmaskedFrame: "Frames from a client must be masked."
        case .nonMinimalLength: "The payload length must be written in as few bytes as possible."
        case .negativeLength: "The top bit of a 64-bit payload length must be zero."
        case .controlFrameTooLong: "A control frame carries at most 125 bytes."
        case .fragmentedControlFrame: "A control frame must not be fragmented."
        case .unexpectedContinuation: "There is no message to continue."
        case .messageInterrupted: "The message before this one is not finished."
        case .closeBodyTooShort: "The body of a Close frame must be empty or start with a two-byte code."
        case .invalidCloseCode: "This close code must not be sent."
        case .invalidCloseReason: "The close reason is not valid UTF-8."
        case .invalidText: "The text message is not valid UTF-8."
        case .messageTooBig: "The message is too big."
        case .tooManyFragments: "The message has too many fragments."
        case .invalidCompressedData: "The compressed message is corrupt."
        case .compressionRatio: "The message's compression ratio is too high."
        }
    }
}
