/// The name of a user, as the app or a token gives it.
///
/// Names are equal when their bytes are: text that only looks alike, such as `é` as one scalar and as two, names two
/// users (RFC 7519 §7.3). Swift strings would compare as equal.
public struct UserName: Sendable, Hashable, Comparable, ExpressibleByStringInterpolation, CustomStringConvertible {
    /// The longest name, in bytes.
    public static let maxBytes = 256

    /// The name.
    public let text: String

    /// A name; the length is not checked.
    public init(_ text: String) {
        self.text = text
    }

    /// A name from a literal.
    public init(stringLiteral text: String) {
        self.text = text
    }

    /// True for the empty name, with which an app removes a connection's user.
    public var isEmpty: Bool { text.isEmpty }

    /// The name.
    public var description: String { text }

    /// By bytes.
    public static func == (one: UserName, other: UserName) -> Bool {
        one.text.utf8.elementsEqual(other.text.utf8)
    }

    /// By bytes.
    public static func < (one: UserName, other: UserName) -> Bool {
        one.text.utf8.lexicographicallyPrecedes(other.text.utf8)
    }

    /// By bytes.
    public func hash(into hasher: inout Hasher) {
        var text = self.text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}
