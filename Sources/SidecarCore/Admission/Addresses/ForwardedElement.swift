import HTTP1

/// One element of `Forwarded` (RFC 7239 §4): what one proxy says about the request that it got.
struct ForwardedElement: Equatable {
    /// The sender; unidentified when the element names none.
    private(set) var node = ForwardedNode.unidentified
    private(set) var scheme: ClientScheme?
    private(set) var host: String?

    /// Reads `for=…;proto=…;host=…`, in any order and case; nil when it is not of that form or repeats a parameter.
    ///
    /// Values that hold a colon or brackets should be quoted; many proxies don't, so that is accepted too.
    init?(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        var seen: [Range<Int>] = []
        var index = range.lowerBound
        while index < range.upperBound {
            let nameStart = index
            while index < range.upperBound, HTTPField.isTokenByte(bytes[index]) { index += 1 }
            let name = nameStart..<index
            // Empty pairs are allowed: `for=1.2.3.4;;proto=http`.
            if !name.isEmpty {
                guard seen.count < Self.mostParameters, index < range.upperBound, bytes[index] == UInt8(ascii: "="),
                    !seen.contains(where: { bytes.equalsFolded($0, name) })
                else { return nil }
                seen.append(name)
                guard let value = ForwardedValue(bytes, (index + 1)..<range.upperBound) else { return nil }
                index = value.end
                take(name, value, bytes)
            }
            while index < range.upperBound, HTTPField.isSpace(bytes[index]) { index += 1 }
            guard index < range.upperBound else { break }
            guard bytes[index] == UInt8(ascii: ";") else { return nil }
            index += 1
            while index < range.upperBound, HTTPField.isSpace(bytes[index]) { index += 1 }
        }
        if seen.isEmpty { return nil }
    }

    private mutating func take(_ name: Range<Int>, _ value: ForwardedValue, _ bytes: Span<UInt8>) {
        if bytes.matches(name, "for") {
            node = value.withBytes(bytes) { ForwardedNode.read($0, $1) }
        } else if bytes.matches(name, "proto") {
            scheme = value.withBytes(bytes) { ClientScheme($0, $1) }
        } else if bytes.matches(name, "host") {
            host = value.withBytes(bytes) { HTTPHost.isValid($0, $1) ? $0.text($1) : nil }
        }
    }

    /// RFC 7239 defines four; this leaves room for extensions.
    private static let mostParameters = 16
}

/// A parameter's value: a token, or a quoted string with its escapes taken out.
private struct ForwardedValue {
    /// The index of the first byte after the value.
    let end: Int
    private let range: Range<Int>
    /// The unescaped bytes of a string that had escapes; otherwise the value is read from the header itself.
    private let unescaped: [UInt8]?

    /// Reads from the start of the range; nil when there is no value or a quote is not closed.
    init?(_ bytes: Span<UInt8>, _ rest: Range<Int>) {
        var index = rest.lowerBound
        guard index < rest.upperBound else { return nil }
        guard bytes[index] == UInt8(ascii: "\"") else {
            while index < rest.upperBound, Self.isPlain(bytes[index]) { index += 1 }
            guard index > rest.lowerBound else { return nil }
            end = index
            range = rest.lowerBound..<index
            unescaped = nil
            return
        }
        index += 1
        let start = index
        var hasEscape = false
        while index < rest.upperBound, bytes[index] != UInt8(ascii: "\"") {
            if bytes[index] == UInt8(ascii: "\\") {
                hasEscape = true
                index += 1
            }
            index += 1
        }
        guard index < rest.upperBound else { return nil }
        end = index + 1
        range = start..<index
        unescaped = hasEscape ? Self.unescape(bytes, range) : nil
    }

    func withBytes<Result>(_ bytes: Span<UInt8>, _ body: (Span<UInt8>, Range<Int>) -> Result) -> Result {
        guard let unescaped else { return body(bytes, range) }
        return body(unescaped.span, 0..<unescaped.count)
    }

    private static func unescape(_ bytes: Span<UInt8>, _ range: Range<Int>) -> [UInt8] {
        var plain: [UInt8] = []
        var index = range.lowerBound
        while index < range.upperBound {
            if bytes[index] == UInt8(ascii: "\\"), index + 1 < range.upperBound { index += 1 }
            plain.append(bytes[index])
            index += 1
        }
        return plain
    }

    /// Visible ASCII that ends neither pair nor element and opens no quote.
    private static func isPlain(_ byte: UInt8) -> Bool {
        byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: ";") && byte != UInt8(ascii: ",")
            && byte != UInt8(ascii: "\"")
    }
}

extension Span where Element == UInt8 {
    /// Says whether both ranges hold the same bytes, regardless of case.
    fileprivate func equalsFolded(_ left: Range<Int>, _ right: Range<Int>) -> Bool {
        guard left.count == right.count else { return false }
        for (one, other) in zip(left, right) where !HTTPField.equalFolded(self[one], self[other]) { return false }
        return true
    }
}
