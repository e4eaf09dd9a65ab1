/// Reads the elements of `Sec-WebSocket-Extensions` one by one (RFC 6455 §9.1), each byte at most twice.
struct ExtensionOffers {
    /// The value of a parameter, as far as permessage-deflate can tell values apart.
    enum Value: Equatable {
        case none
        /// A decimal number from 0 to 99 without leading zeros.
        case number(Int)
        case other
    }

    /// One element of the list.
    enum Offer {
        case wellFormed(name: ArraySlice<UInt8>, parameters: [(name: ArraySlice<UInt8>, value: Value)])
        case malformed
    }

    private let bytes: [UInt8]
    private var position = 0

    /// - Parameter field: one field's value; quoted strings don't reach from one field into another.
    init(_ field: String) {
        self.bytes = Array(field.utf8)
    }

    /// The next element, or nil at the end.
    mutating func next() -> Offer? {
        while let byte = self.current, byte == UInt8(ascii: ",") || FieldSyntax.isBlank(byte) {
            self.position += 1
        }
        guard self.current != nil else { return nil }
        let start = self.position
        guard let offer = self.offer() else {
            // From its start, so that a comma in quotes is not taken for the end.
            self.position = start
            self.skipElement()
            return .malformed
        }
        return offer
    }

    private var current: UInt8? { self.position < self.bytes.count ? self.bytes[self.position] : nil }

    /// Reads to the next comma or the end; nil as soon as something is not as it should be.
    private mutating func offer() -> Offer? {
        guard let name = self.token() else { return nil }
        var parameters: [(name: ArraySlice<UInt8>, value: Value)] = []
        while true {
            self.skipBlanks()
            guard let byte = self.current, byte != UInt8(ascii: ",") else { break }
            guard byte == UInt8(ascii: ";") else { return nil }
            self.position += 1
            self.skipBlanks()
            guard let parameter = self.token() else { return nil }
            self.skipBlanks()
            var value = Value.none
            if self.current == UInt8(ascii: "=") {
                self.position += 1
                self.skipBlanks()
                guard let read = self.current == UInt8(ascii: "\"") ? self.quoted() : self.token().map(Self.value)
                else { return nil }
                value = read
            }
            parameters.append((parameter, value))
        }
        return .wellFormed(name: name, parameters: parameters)
    }

    private mutating func token() -> ArraySlice<UInt8>? {
        let start = self.position
        while let byte = self.current, FieldSyntax.isTokenCharacter(byte) {
            self.position += 1
        }
        return start < self.position ? self.bytes[start..<self.position] : nil
    }

    /// A quoted string, which has to be a token once its quotes and backslashes are gone.
    private mutating func quoted() -> Value? {
        var content: ArraySlice<UInt8> = []
        self.position += 1
        while let byte = self.current, byte != UInt8(ascii: "\"") {
            if byte == UInt8(ascii: "\\") { self.position += 1 }
            guard let byte = self.current, FieldSyntax.isTokenCharacter(byte) else { return nil }
            // Nobody needs to know what a long value is.
            if content.count < 3 { content.append(byte) }
            self.position += 1
        }
        guard self.current != nil, !content.isEmpty else { return nil }
        self.position += 1
        return Self.value(content)
    }

    private static func value(_ text: ArraySlice<UInt8>) -> Value {
        guard let first = text.first, text.count <= 2, text.count == 1 || first != UInt8(ascii: "0") else {
            return .other
        }
        var number = 0
        for byte in text {
            guard byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") else { return .other }
            number = number * 10 + Int(byte - UInt8(ascii: "0"))
        }
        return .number(number)
    }

    private mutating func skipBlanks() {
        while let byte = self.current, FieldSyntax.isBlank(byte) {
            self.position += 1
        }
    }

    /// Goes on to the next comma that is not in quotes; quotes that never close take all of the rest.
    private mutating func skipElement() {
        var isQuoted = false
        while let byte = self.current {
            if byte == UInt8(ascii: ",") && !isQuoted { return }
            if byte == UInt8(ascii: "\\") && isQuoted { self.position += 1 }
            if byte == UInt8(ascii: "\"") { isQuoted.toggle() }
            self.position += 1
        }
    }
}
