extension String {
    /// The longest front that takes at most so many bytes of UTF-8 and does not cut a Unicode scalar in two.
    package func prefix(maxBytes: Int) -> Substring {
        guard let end = utf8.index(startIndex, offsetBy: maxBytes, limitedBy: endIndex) else { return self[...] }
        // An index within a scalar counts as the one where it begins.
        return Substring(unicodeScalars[..<end])
    }
}
