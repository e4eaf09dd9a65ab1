extension HTTPField {
    /// Case-insensitive equality of two tokens.
    static func equals(_ name: UnsafeRawBufferPointer, _ other: String) -> Bool {
        var other = other
        return other.withUTF8 { bytes in
            guard bytes.count == name.count else { return false }
            for index in 0..<bytes.count where name[index] | 0x20 != bytes[index] | 0x20 { return false }
            return true
        }
    }
}
