extension String {
    /// The longest prefix of at most so many bytes of UTF-8 that does not split a Unicode scalar.
    package func prefix(maxBytes: Int) -> Substring {
        guard let end = utf8.index(startIndex, offsetBy: maxBytes, limitedBy: endIndex) else { return self[...] }
        // An index within a scalar is rounded down to where the scalar begins.
        return Substring(unicodeScalars[..<end])
    }
}
