/// The name of a user, as the app or a token gives it.
///
/// Names are the same when their bytes are: text that only looks alike, such as `é` written as one character and as two,
/// names two users (RFC 7519 §7.3). Swift's own strings compare otherwise.
public struct UserName: Sendable, Hashable, Comparable, ExpressibleByStringInterpolation, CustomStringConvertible {
    /// The longest name, in bytes.
    public static let maxBytes = 256

    /// The name.
    public let text: String

    /// Makes one.
    public init(_ text: String) {
        self.text = text
    }

    /// Makes one.
    public init(stringLiteral text: String) {
        self.text = text
    }

    /// True without a name, by which an app forgets a user.
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
