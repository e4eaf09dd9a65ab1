/// A value that is copied as one reference, for what is large and rare.
final class Shared<Value: Sendable & Equatable>: Sendable, Equatable {
    let value: Value

    init(_ value: Value) {
        self.value = value
    }

    static func == (one: Shared, other: Shared) -> Bool { one.value == other.value }
}
