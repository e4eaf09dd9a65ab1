/// A member of an answer that is `null` without a value; a synthesized `encode` would leave it out.
@propertyWrapper
struct Nullable<Value: Encodable & Sendable>: Encodable, Sendable {
    var wrappedValue: Value?

    init(wrappedValue: Value?) {
        self.wrappedValue = wrappedValue
    }

    func encode(to encoder: any Encoder) throws {
        var member = encoder.singleValueContainer()
        // An optional is null in a container of one value.
        try member.encode(wrappedValue)
    }
}
