import NIOCore

/// The code and reason in the body of a Close frame (RFC 6455 §5.5.1).
struct CloseBody: Equatable {
    /// Nil when the body was empty.
    let code: CloseCode?
    let reason: String

    /// Reads an unmasked body.
    init(_ payload: ByteBuffer) throws(ProtocolViolation) {
        var payload = payload
        guard payload.readableBytes > 0 else {
            self.code = nil
            self.reason = ""
            return
        }
        guard let number = payload.readInteger(as: UInt16.self) else { throw .closeBodyTooShort }
        guard let code = CloseCode(receivable: number) else { throw .invalidCloseCode }
        guard payload.withUnsafeReadableBytes({ UTF8Validator.isValid($0) }) else { throw .invalidCloseReason }
        self.code = code
        self.reason = String(buffer: payload)
    }
}
