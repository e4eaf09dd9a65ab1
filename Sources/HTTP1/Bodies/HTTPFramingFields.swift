/// Gathers, while a head is read, what decides about its framing and its connection.
struct HTTPFramingFields: Sendable {
    private(set) var hostCount = 0
    private(set) var host = 0..<0
    private var contentLengthCount = 0
    private var contentLength = 0..<0
    private var transferEncodingCount = 0
    private var transferEncoding = 0..<0
    private var saysClose = false
    private var saysKeepAlive = false
    private(set) var expectsContinue = false

    /// Looks at one field; the length of its name leaves at most one candidate.
    @inline(__always)
    mutating func note(_ field: HTTPFieldRange, in bytes: Span<UInt8>) {
        switch field.name.count {
        case 4 where bytes.matches(field.name, "host"):
            hostCount += 1
            host = field.value
        case 6 where bytes.matches(field.name, "expect"):
            expectsContinue = expectsContinue || bytes.matches(field.value, "100-continue")
        case 10 where bytes.matches(field.name, "connection"):
            saysClose = saysClose || bytes.listHasToken(field.value, "close")
            saysKeepAlive = saysKeepAlive || bytes.listHasToken(field.value, "keep-alive")
        case 14 where bytes.matches(field.name, "content-length"):
            contentLengthCount += 1
            contentLength = field.value
        case 17 where bytes.matches(field.name, "transfer-encoding"):
            transferEncodingCount += 1
            transferEncoding = field.value
        default: break
        }
    }

    /// What the fields say of the body, or nil when they say nothing (RFC 9112 §6).
    ///
    /// Stricter than the RFC on purpose: what two readers could take differently is refused.
    func bodyFraming(in bytes: Span<UInt8>, minorVersion: Int) throws(HTTPParseError) -> HTTPBodyFraming? {
        if contentLengthCount == 0 && transferEncodingCount == 0 { return nil }
        guard transferEncodingCount == 0 else {
            if contentLengthCount > 0 { throw .conflictingFraming }
            if minorVersion == 0 { throw .transferEncodingInHTTP10 }
            if transferEncodingCount == 1, bytes.matches(transferEncoding, "chunked") { return .chunked }
            throw Self.codingFault(transferEncodingCount == 1 ? transferEncoding : 0..<0, in: bytes)
        }
        guard contentLengthCount == 1 else { throw .repeatedContentLength }
        return .length(try Self.decimal(contentLength, in: bytes))
    }

    /// Says whether the connection may go on after the message (RFC 9112 §9.3).
    func keepAlive(minorVersion: Int) -> Bool {
        !saysClose && (minorVersion == 1 || saysKeepAlive)
    }

    /// Codings that we don't know before one final `chunked` are 501, anything else is no framing at all.
    private static func codingFault(_ value: Range<Int>, in bytes: Span<UInt8>) -> HTTPParseError {
        var codings = 0
        var chunked = 0
        var endsChunked = false
        bytes.forEachListElement(value) { element in
            codings += 1
            endsChunked = bytes.matches(element, "chunked")
            if endsChunked { chunked += 1 }
            return true
        }
        return codings > 1 && chunked == 1 && endsChunked ? .unknownTransferCoding : .invalidTransferEncoding
    }

    private static func decimal(_ value: Range<Int>, in bytes: Span<UInt8>) throws(HTTPParseError) -> Int {
        guard !value.isEmpty else { throw .invalidContentLength }
        var number = 0
        var fits = true
        for index in value {
            let byte = bytes[index]
            guard HTTPField.isDigit(byte) else { throw .invalidContentLength }
            let (tens, tooLarge) = number.multipliedReportingOverflow(by: 10)
            let (sum, overflow) = tens.addingReportingOverflow(Int(byte &- UInt8(ascii: "0")))
            fits = fits && !tooLarge && !overflow
            number = sum
        }
        guard fits else { throw .contentTooLarge }
        return number
    }
}
