import HTTP1

/// The elements of comma lists, taken from the right.
///
/// Each proxy appends, so the rightmost element comes from the nearest proxy. Read from that end, nothing that the
/// client wrote further left, such as a quote that never closes, can change how a proxy's own element is read.
struct ElementsFromRight {
    private let range: Range<Int>
    private var end: Int
    private var isDone = false
    private let quotes: Bool

    /// Takes elements of the range; `quotes` says whether commas in quoted strings (RFC 9110 §5.6.4) divide nothing.
    init(_ range: Range<Int>, quotes: Bool) {
        self.range = range
        self.quotes = quotes
        end = range.upperBound
    }

    /// The next trimmed element, which may be empty, or nil at the left end.
    mutating func next(in bytes: Span<UInt8>) -> Range<Int>? {
        guard !isDone else { return nil }
        var start = end
        while start > range.lowerBound {
            let byte = bytes[start - 1]
            if byte == UInt8(ascii: ",") { break }
            start -= 1
            if quotes, byte == UInt8(ascii: "\"") { start = openingQuote(before: start, in: bytes) }
        }
        let element = bytes.trimmed(start..<end)
        if start == range.lowerBound { isDone = true } else { end = start - 1 }
        return element
    }

    /// The index of the quote that opens the string which closes at `closing`, or the left end without one.
    private func openingQuote(before closing: Int, in bytes: Span<UInt8>) -> Int {
        var index = closing
        while index > range.lowerBound {
            index -= 1
            guard bytes[index] == UInt8(ascii: "\"") else { continue }
            // A quote behind an odd number of backslashes is escaped, so it does not open the string.
            var slashes = index
            while slashes > range.lowerBound, bytes[slashes - 1] == UInt8(ascii: "\\") { slashes -= 1 }
            if (index - slashes).isMultiple(of: 2) { return index }
            index = slashes
        }
        return range.lowerBound
    }
}
