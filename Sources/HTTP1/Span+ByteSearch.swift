/// The loops over the bytes of a head, eight at a time where it pays; every access is checked against the end.
extension Span where Element == UInt8 {
    /// The first line feed in `start..<end`.
    @inline(__always)
    func firstLineFeed(from start: Int, to end: Int) -> Int? {
        var index = start
        while index &+ 8 <= end {
            let hits = ByteLanes.equal(word(at: index), 0x0A)
            if hits != 0 { return index &+ (hits.trailingZeroBitCount &>> 3) }
            index &+= 8
        }
        while index < end {
            if self[index] == 0x0A { return index }
            index &+= 1
        }
        return nil
    }

    /// Says whether all bytes of the range may stand in a field value.
    @inline(__always)
    func isFieldValue(_ range: Range<Int>) -> Bool {
        var index = range.lowerBound
        while index &+ 8 <= range.upperBound {
            let word = word(at: index)
            // A tab is rare and allowed: such a word is looked at byte by byte.
            if ByteLanes.less(word, 0x20) | ByteLanes.equal(word, 0x7F) != 0 {
                for offset in index..<(index &+ 8) where !HTTPField.isValueByte(self[offset]) { return false }
            }
            index &+= 8
        }
        while index < range.upperBound {
            if !HTTPField.isValueByte(self[index]) { return false }
            index &+= 1
        }
        return true
    }

    /// The range without the optional white space at both ends (RFC 9110 §5.6.3).
    @inline(__always)
    package func trimmed(_ range: Range<Int>) -> Range<Int> {
        var start = range.lowerBound
        var end = range.upperBound
        while start < end, HTTPField.isSpace(self[start]) { start &+= 1 }
        while end > start, HTTPField.isSpace(self[end &- 1]) { end &-= 1 }
        return start..<end
    }

    /// Says whether the range holds exactly this text, regardless of case.
    @inline(__always)
    package func matches(_ range: Range<Int>, _ text: StaticString) -> Bool {
        // Nearly always the lengths differ, which is known without a call.
        range.count == text.utf8CodeUnitCount && matchesSameLength(range, text)
    }

    private func matchesSameLength(_ range: Range<Int>, _ text: StaticString) -> Bool {
        text.withUTF8Buffer { wanted in
            for offset in 0..<wanted.count
            where !HTTPField.equalFolded(self[range.lowerBound &+ offset], wanted[offset]) {
                return false
            }
            return true
        }
    }

    /// Calls `body` with each trimmed element of a comma list, empty ones left out, until it returns false.
    func forEachListElement(_ range: Range<Int>, _ body: (Range<Int>) -> Bool) {
        var start = range.lowerBound
        while start < range.upperBound {
            var end = start
            while end < range.upperBound, self[end] != UInt8(ascii: ",") { end &+= 1 }
            let element = trimmed(start..<end)
            if !element.isEmpty, !body(element) { return }
            start = end &+ 1
        }
    }

    /// Says whether a comma list has this token, regardless of case.
    func listHasToken(_ range: Range<Int>, _ token: StaticString) -> Bool {
        var found = false
        forEachListElement(range) { element in
            found = matches(element, token)
            return !found
        }
        return found
    }

    /// The text of the range; bytes that are no UTF-8 become U+FFFD.
    package func text(_ range: Range<Int>) -> String {
        extracting(range).withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
    }

    /// The text of the range; each byte beyond ASCII becomes U+FFFD.
    func asciiText(_ range: Range<Int>) -> String {
        guard range.contains(where: { self[$0] >= 0x80 }) else { return text(range) }
        var text = String.UnicodeScalarView()
        for index in range { text.append(self[index] < 0x80 ? Unicode.Scalar(self[index]) : "\u{FFFD}") }
        return String(text)
    }

    @inline(__always)
    private func word(at index: Int) -> UInt64 {
        UInt64(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self))
    }
}

/// Eight bytes looked at in one word; the lowest marked lane is exact, which is all that is asked.
private enum ByteLanes {
    private static var ones: UInt64 { 0x0101_0101_0101_0101 }
    private static var tops: UInt64 { 0x8080_8080_8080_8080 }

    /// Marks lanes below `bound` (at most 0x80).
    @inline(__always)
    static func less(_ word: UInt64, _ bound: UInt64) -> UInt64 {
        (word &- ones &* bound) & ~word & tops
    }

    /// Marks lanes that hold `byte`.
    @inline(__always)
    static func equal(_ word: UInt64, _ byte: UInt64) -> UInt64 {
        less(word ^ (ones &* byte), 1)
    }
}
