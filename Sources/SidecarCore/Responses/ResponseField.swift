/// A response field that we write ourselves.
public struct ResponseField: Sendable, Equatable {
    /// A token.
    public let name: String
    /// Its value, without line breaks.
    public let value: String

    /// A field whose value is already valid.
    public init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}
