/// A path, or every path below a prefix: `/ws`, `/live/*`, `/*`.
///
/// Patterns are compared byte for byte with the path as it came, without its query: nothing is decoded and `..` is
/// not resolved, because only the app defines what its paths mean.
public struct PathPattern: Sendable, Equatable, CustomStringConvertible {
    @usableFromInline let bytes: [UInt8]
    @usableFromInline let isPrefix: Bool

    /// `/*`: every path.
    public static let everything = PathPattern(bytes: [UInt8(ascii: "/")], isPrefix: true)

    private init(bytes: [UInt8], isPrefix: Bool) {
        self.bytes = bytes
        self.isPrefix = isPrefix
    }

    /// Reads a pattern; nil unless it is an absolute path whose only `*`, if any, is its last segment.
    public init?(_ text: String) {
        var bytes = Array(text.utf8)
        let isPrefix = text.hasSuffix("/*")
        if isPrefix { bytes.removeLast() }
        guard bytes.first == UInt8(ascii: "/"), bytes.allSatisfy({ TargetSyntax.isPathByte($0) }) else { return nil }
        guard !bytes.contains(UInt8(ascii: "*")) else { return nil }
        self.init(bytes: bytes, isPrefix: isPrefix)
    }

    /// Whether `path`, a request's raw path without its query, is one of this pattern's.
    ///
    /// `/live/*` takes `/live/` and `/live/x`, neither `/live` nor `/livex`.
    @inlinable
    public func matches(_ path: some Sequence<UInt8>) -> Bool {
        isPrefix ? path.starts(with: bytes) : path.elementsEqual(bytes)
    }

    /// Whether `path`, a request's raw path without its query, is one of this pattern's.
    @inlinable
    public func matches(_ path: some StringProtocol) -> Bool {
        matches(path.utf8)
    }

    /// The pattern as it is written in a setting.
    public var description: String {
        String(decoding: bytes, as: UTF8.self) + (isPrefix ? "*" : "")
    }
}
