extension HTTPField {
    /// Case-insensitive equality of two tokens.
    static func equals(_ name: UnsafeRawBufferPointer, _ other: String) -> Bool {
        var other = other
        return other.withUTF8 { bytes in
            guard bytes.count == name.count else { return false }
            for (left, right) in zip(name, bytes) where !equalFolded(left, right) { return false }
            return true
        }
    }
}
