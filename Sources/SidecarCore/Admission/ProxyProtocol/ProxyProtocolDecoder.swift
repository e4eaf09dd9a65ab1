public import NIOCore

/// Reads the PROXY header that a connection begins with (HAProxy's specification, versions 1 and 2).
///
/// One value serves one connection. It keeps at most 107 bytes, however long the header is. The caller has to check
/// that the peer may send a header: ``TrustedProxies/trusts(peer:isUnixSocket:)``.
public struct ProxyProtocolDecoder: Sendable {
    /// The longest version 1 line, CRLF included.
    public static let longestLine = 107
    /// The longest version 2 header, its first 16 bytes included; the extensions (TLVs) in it are skipped.
    public static let longestHeader = 4112

    private enum State {
        case signature
        case line
        case fixedPart
        case addresses(ProxyV2Block)
        case extensions(left: Int, ProxyHeader)
        case done(ProxyHeader)
        case failed(ProxyProtocolError)
    }

    private let mode: ProxyProtocolMode
    private var state = State.signature
    private var kept: [UInt8] = []

    /// Makes the decoder of one connection.
    public init(mode: ProxyProtocolMode) {
        self.mode = mode
    }

    /// Takes bytes off the buffer until the header is complete, and never one beyond it.
    ///
    /// Returns nil when all bytes are taken and more are needed. Once the header is complete, further calls return it
    /// again and take nothing. Throws at the first byte that cannot belong to a valid header; further calls throw the
    /// same error.
    public mutating func consume(_ buffer: inout ByteBuffer) throws(ProxyProtocolError) -> ProxyHeader? {
        do throws(ProxyProtocolError) {
            while true {
                switch state {
                case .done(let header): return header
                case .failed(let error): throw error
                case .extensions(let left, let header):
                    let skipped = min(left, buffer.readableBytes)
                    buffer.moveReaderIndex(forwardBy: skipped)
                    guard skipped == left else {
                        state = .extensions(left: left - skipped, header)
                        return nil
                    }
                    state = .done(header)
                case .addresses(let block) where block.addressBytes == 0:
                    state = .extensions(left: block.length, .local)
                case .signature, .line, .fixedPart, .addresses:
                    guard let byte = buffer.readInteger(as: UInt8.self) else { return nil }
                    kept.append(byte)
                    try take(byte)
                }
            }
        } catch {
            state = .failed(error)
            kept = []
            throw error
        }
    }

    /// Goes on with the byte that was just kept.
    private mutating func take(_ byte: UInt8) throws(ProxyProtocolError) {
        switch state {
        case .signature: try takeSignature(byte)
        case .line: try takeLine(byte)
        case .fixedPart:
            guard let block = try ProxyV2Block(kept) else { return }
            state = .addresses(block)
            kept.removeAll(keepingCapacity: true)
        case .addresses(let block):
            guard kept.count == block.addressBytes else { return }
            state = .extensions(left: block.length - kept.count, block.header(kept))
            kept = []
        case .extensions, .done, .failed: return
        }
    }

    private mutating func takeSignature(_ byte: UInt8) throws(ProxyProtocolError) {
        // The signatures differ in their first byte.
        let isText = kept.first == ProxyV1Line.signature.first
        guard mode == .any || mode == (isText ? .v1 : .v2) else { throw .noSignature }
        let signature = isText ? ProxyV1Line.signature : ProxyV2Block.signature
        let index = kept.count - 1
        guard signature.indices.contains(index), signature[index] == byte else { throw .noSignature }
        if kept.count == signature.count { state = isText ? .line : .fixedPart }
    }

    private mutating func takeLine(_ byte: UInt8) throws(ProxyProtocolError) {
        let endedBefore = kept.dropLast().last == UInt8(ascii: "\r")
        guard endedBefore == (byte == UInt8(ascii: "\n")) else { throw .invalidLineEnd }
        if endedBefore {
            state = .done(try ProxyV1Line.header(kept.dropLast(2)))
            kept = []
        } else if kept.count >= Self.longestLine {
            throw .invalidLineEnd
        }
    }
}
