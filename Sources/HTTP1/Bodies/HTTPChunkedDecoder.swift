internal import NIOCore

/// Takes a chunked body apart (RFC 9112 §7.1).
///
/// The data of small chunks that came together is handed out together, so that a body of one-byte chunks costs those
/// behind no more than any other.
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

    /// Data of at least so many bytes is handed out as it lies in the buffer; less is copied to what is beside it.
    private static let sliceThreshold = 16 << 10
    /// Behind a chunk's data, what is no more than this is no chunk that would be worth joining, in bytes.
    private static let leastRest = 8

    private var phase = Phase.size
    private var digits = 0
    /// The size as far as it is read, then the bytes of the chunk that are still to come.
    private var remaining = 0
    private var chunkExtension: HTTPChunkExtension?
    /// Extension bytes of the whole body beyond what its data has earned: a body that is mostly extensions costs
    /// work and carries nothing.
    private var extensionExcess = 0
    private var trailers = HTTPFieldSection()
    /// What was wrong behind data that was in order.
    private var failure: HTTPParseError?
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
        if let failure { throw failure }
        while true {
            switch phase {
            case .trailers:
                return try nextTrailer(&buffer, limits: limits)
            case .data:
                let length = min(remaining, buffer.readableBytes)
                guard length > 0 else { return nil }
                if length < Self.sliceThreshold, buffer.readableBytes - length > Self.leastRest {
                    return .data(join(&buffer))
                }
                guard let slice = buffer.readSlice(length: length) else { return nil }
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

    /// Takes the data of chunk after chunk, up to one that is large, the end, a fault, or the last byte.
    private mutating func join(_ buffer: inout ByteBuffer) -> ByteBuffer {
        let (joined, used) = join(buffer.readableBytesUInt8Span)
        buffer.moveReaderIndex(forwardBy: used)
        return ByteBuffer(bytes: joined)
    }

    private mutating func join(_ bytes: Span<UInt8>) -> (data: [UInt8], used: Int) {
        var joined: [UInt8] = []
        joined.reserveCapacity(bytes.count / 4)
        var index = 0
        do throws(HTTPParseError) {
            while index < bytes.count, phase != .trailers {
                guard phase == .data else {
                    index += try readDelimiters(bytes.extracting(index...)).used
                    continue
                }
                let length = min(remaining, bytes.count - index)
                if length >= Self.sliceThreshold { break }
                joined.append(bytes, index..<index + length)
                index += length
                remaining -= length
                if remaining == 0 {
                    phase = .dataReturn
                    skipUsualDelimiters(bytes, &index)
                }
            }
        } catch {
            failure = error
        }
        return (joined, index)
    }

    /// Reads on from the end of a chunk to the beginning of one of at most 15 bytes, if all of that is there and nothing
    /// else: what a body of tiny chunks mostly consists of.
    private mutating func skipUsualDelimiters(_ bytes: Span<UInt8>, _ index: inout Int) {
        guard bytes.count - index >= 5, bytes[index] == UInt8(ascii: "\r"), bytes[index + 1] == UInt8(ascii: "\n"),
            let size = HTTPField.hexValue(bytes[index + 2]), size > 0,
            bytes[index + 3] == UInt8(ascii: "\r"), bytes[index + 4] == UInt8(ascii: "\n")
        else { return }
        index += 5
        digits = 1
        remaining = size
        extensionExcess = max(0, extensionExcess - min(size, HTTPLimits.maxChunkExtensionExcess))
        phase = .data
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

extension [UInt8] {
    /// Adds a part of other bytes; of a few, one by one, which costs less than asking for a copy.
    fileprivate mutating func append(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        if range.count <= 16 {
            for index in range { append(bytes[index]) }
        } else {
            bytes.extracting(range).withUnsafeBufferPointer { append(contentsOf: $0) }
        }
    }
}
