internal import NIOCore

/// Takes a chunked body apart (RFC 9112 §7.1).
struct HTTPChunkedDecoder: Sendable {
    /// One step of a chunked body.
    enum Part {
        case data(ByteBuffer)
        case end(trailers: HTTPHeaders?)
    }

    private enum Phase {
        /// In the digits of a chunk size.
        case size
        /// In the extensions behind it.
        case chunkExtension
        /// Behind the CR that ends the size line.
        case sizeLineFeed
        /// In the data of a chunk.
        case data
        /// Before the CR behind the data.
        case dataReturn
        /// Behind that CR.
        case dataLineFeed
        case trailers
    }

    private var phase = Phase.size
    private var digits = 0
    /// The size as far as it is read, then the bytes of the chunk that are still to come.
    private var remaining = 0
    private var chunkExtension: HTTPChunkExtension?
    /// Extension bytes of the whole body beyond what its data has earned: a body that is mostly extensions costs
    /// work and carries nothing.
    private var extensionExcess = 0
    private var trailers = HTTPFieldSection()
    /// Whether trailers that imitate reserved fields are an error, as they are in requests, or left out.
    private let refusesImitations: Bool

    init(refusesImitations: Bool) {
        self.refusesImitations = refusesImitations
    }

    /// The next step, or nil when more bytes are needed; the bytes of every step are taken off the buffer.
    mutating func next(
        _ buffer: inout ByteBuffer,
        limits: HTTPLimits
    ) throws(HTTPParseError) -> Part? {
        while true {
            switch phase {
            case .trailers:
                return try nextTrailer(&buffer, limits: limits)
            case .data:
                let length = min(remaining, buffer.readableBytes)
                guard length > 0, let slice = buffer.readSlice(length: length) else { return nil }
                remaining -= length
                if remaining == 0 { phase = .dataReturn }
                return .data(slice)
            default:
                let (used, isDelimited) = try readDelimiters(buffer.readableBytesUInt8Span)
                buffer.moveReaderIndex(forwardBy: used)
                guard isDelimited else { return nil }
            }
        }
    }

    /// Reads bytes between chunks until data or trailers begin or the bytes run out.
    private mutating func readDelimiters(
        _ bytes: Span<UInt8>
    ) throws(HTTPParseError) -> (used: Int, isDelimited: Bool) {
        for index in bytes.indices {
            let byte = bytes[index]
            switch phase {
            case .size: try readSize(byte)
            case .chunkExtension: try readExtension(byte)
            case .sizeLineFeed:
                guard byte == UInt8(ascii: "\n") else { throw .invalidChunkSize }
                try endSizeLine()
                return (index + 1, true)
            case .dataReturn:
                guard byte == UInt8(ascii: "\r") else { throw .invalidChunkEnd }
                phase = .dataLineFeed
            case .dataLineFeed:
                guard byte == UInt8(ascii: "\n") else { throw .invalidChunkEnd }
                phase = .size
                digits = 0
            case .data, .trailers:
                return (index, true)
            }
        }
        return (bytes.count, false)
    }

    private mutating func readSize(_ byte: UInt8) throws(HTTPParseError) {
        if let digit = HTTPField.hexValue(byte) {
            guard digits < HTTPLimits.maxChunkSizeDigits else { throw .invalidChunkSize }
            digits += 1
            remaining = remaining << 4 | digit
            return
        }
        guard digits > 0 else { throw .invalidChunkSize }
        switch byte {
        case UInt8(ascii: "\r"): phase = .sizeLineFeed
        case UInt8(ascii: ";"):
            phase = .chunkExtension
            chunkExtension = HTTPChunkExtension()
        default: throw .invalidChunkSize
        }
    }

    private mutating func readExtension(_ byte: UInt8) throws(HTTPParseError) {
        guard byte == UInt8(ascii: "\r") else {
            try chunkExtension?.read(byte)
            return
        }
        guard chunkExtension?.isComplete == true else { throw .invalidChunkExtension }
        phase = .sizeLineFeed
    }

    private mutating func endSizeLine() throws(HTTPParseError) {
        let earned = min(remaining, HTTPLimits.maxChunkExtensionExcess)
        extensionExcess = max(0, extensionExcess + (chunkExtension?.count ?? 0) - earned)
        guard extensionExcess <= HTTPLimits.maxChunkExtensionExcess else { throw .invalidChunkExtension }
        chunkExtension = nil
        phase = remaining == 0 ? .trailers : .data
    }

    private mutating func nextTrailer(
        _ buffer: inout ByteBuffer,
        limits: HTTPLimits
    ) throws(HTTPParseError) -> Part? {
        guard try trailers.readTrailers(buffer, limits: limits, refusesImitations: refusesImitations) else {
            return nil
        }
        let fields = trailers.finish(&buffer)
        return .end(trailers: fields.isEmpty ? nil : fields)
    }
}

extension HTTPFieldSection {
    /// Reads the lines that have arrived; says whether the blank line at the end was one of them, and then leaves out
    /// what may not come behind a body.
    fileprivate mutating func readTrailers(
        _ buffer: ByteBuffer,
        limits: HTTPLimits,
        refusesImitations: Bool
    ) throws(HTTPParseError) -> Bool {
        let bytes = buffer.readableBytesUInt8Span
        while let line = try nextLine(in: bytes, cap: limits.maxHeadBytes) {
            if line.isEmpty {
                removeFields { HTTPTrailerPolicy.verdict($0.name, in: bytes) != .keep }
                return true
            }
            let field = try addField(line, in: bytes, maxFields: limits.maxHeaders)
            if refusesImitations, HTTPTrailerPolicy.verdict(field.name, in: bytes) == .imitation {
                throw .imitatingTrailer
            }
        }
        return false
    }
}
