/// What the bytes of a header field may be (RFC 9110 §5), for reading and for writing.
public enum HTTPField {
    /// Says whether the text may be a field name or a method: one or more token bytes (RFC 9110 §5.6.2).
    public static func isToken(_ text: some StringProtocol) -> Bool {
        let bytes = text.utf8
        return !bytes.isEmpty && bytes.allSatisfy(isTokenByte)
    }

    /// Says whether the bytes may be a field name or a method: one or more token bytes (RFC 9110 §5.6.2).
    public static func isToken(_ bytes: UnsafeRawBufferPointer) -> Bool {
        !bytes.isEmpty && bytes.allSatisfy(isTokenByte)
    }

    /// Says whether the text may be written as a field value: no control character but HTAB, so no CR, LF or NUL
    /// (RFC 9110 §5.5).
    public static func isValidFieldValue(_ text: some StringProtocol) -> Bool {
        text.utf8.allSatisfy(isValueByte)
    }

    /// Says whether the bytes may be written as a field value: no control character but HTAB (RFC 9110 §5.5).
    public static func isValidFieldValue(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.allSatisfy(isValueByte)
    }

    /// Says whether the bytes are this name, regardless of case: for `HTTPHeaders.forEach`.
    @inline(__always)
    public static func equals(_ bytes: UnsafeRawBufferPointer, _ name: StaticString) -> Bool {
        // Nearly always the lengths differ, which is known without a call.
        bytes.count == name.utf8CodeUnitCount && hasPrefix(bytes, name)
    }

    /// Says whether the bytes begin with this prefix, regardless of case: for `HTTPHeaders.forEach`.
    public static func hasPrefix(_ bytes: UnsafeRawBufferPointer, _ prefix: StaticString) -> Bool {
        prefix.withUTF8Buffer { wanted in
            guard bytes.count >= wanted.count else { return false }
            for (byte, wantedByte) in zip(bytes, wanted) where !equalFolded(byte, wantedByte) { return false }
            return true
        }
    }

    /// RFC 9110 §5.6.2 `tchar`, as one bit per ASCII code.
    @inline(__always)
    package static func isTokenByte(_ byte: UInt8) -> Bool {
        isMember(byte, low: 0x03FF_6CFA_0000_0000, high: 0x57FF_FFFF_C7FF_FFFE)
    }

    /// RFC 9110 §5.5: visible characters, obs-text, SP and HTAB.
    @inline(__always)
    package static func isValueByte(_ byte: UInt8) -> Bool {
        (byte >= 0x20 && byte != 0x7F) || byte == UInt8(ascii: "\t")
    }

    @inline(__always)
    package static func isSpace(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t")
    }

    @inline(__always)
    package static func isDigit(_ byte: UInt8) -> Bool {
        byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
    }

    @inline(__always)
    package static func isLetter(_ byte: UInt8) -> Bool {
        let folded = byte | 0x20
        return folded >= UInt8(ascii: "a") && folded <= UInt8(ascii: "z")
    }

    @inline(__always)
    package static func hexValue(_ byte: UInt8) -> Int? {
        if isDigit(byte) { return Int(byte &- UInt8(ascii: "0")) }
        let folded = byte | 0x20
        guard folded >= UInt8(ascii: "a"), folded <= UInt8(ascii: "f") else { return nil }
        return Int(folded &- UInt8(ascii: "a")) + 10
    }

    /// ASCII equality regardless of case.
    @inline(__always)
    package static func equalFolded(_ left: UInt8, _ right: UInt8) -> Bool {
        left == right || ((left ^ right) == 0x20 && isLetter(left))
    }

    @inline(__always)
    package static func isMember(_ byte: UInt8, low: UInt64, high: UInt64) -> Bool {
        let word = byte < 64 ? low : high
        return byte < 128 && (word &>> UInt64(byte & 63)) & 1 == 1
    }

    /// Case-insensitive equality of two tokens.
    public static func equals(_ name: UnsafeRawBufferPointer, token other: String) -> Bool {
        var other = other
        return other.withUTF8 { bytes in
            guard bytes.count == name.count else { return false }
            for (left, right) in zip(name, bytes) where !equalFolded(left, right) { return false }
            return true
        }
    }
}
