import HTTP1

/// The kinds of body that a reply may have.
enum MediaType {
    case text, json, binary, messagePack, commands

    /// What a message with such a body is; nil for commands, which are none.
    var format: MessageFormat? {
        switch self {
        case .text: .text
        case .json: .json
        case .binary: .binary
        case .messagePack: .messagePack
        case .commands: nil
        }
    }

    /// Reads a `Content-Type` value (RFC 9110 §8.3.1); parameters are ignored.
    init(_ value: UnsafeRawBufferPointer) {
        var end = value.firstIndex { $0 == UInt8(ascii: ";") } ?? value.count
        while end > 0, value[end - 1] == 0x20 || value[end - 1] == 0x09 { end -= 1 }
        let type = UnsafeRawBufferPointer(rebasing: value[..<end])
        if HTTPField.hasPrefix(type, "text/") {
            self = .text
        } else if HTTPField.equals(type, "application/vnd.sidesocket+json") {
            self = .commands
        } else if HTTPField.equals(type, "application/json") || Self.hasSuffix(type, "+json") {
            self = .json
        } else if HTTPField.equals(type, "application/xml") || Self.hasSuffix(type, "+xml") {
            self = .text
        } else if HTTPField.equals(type, "application/msgpack") || HTTPField.equals(type, "application/vnd.msgpack")
            || HTTPField.equals(type, "application/x-msgpack")
        {
            self = .messagePack
        } else {
            self = .binary
        }
    }

    private static func hasSuffix(_ type: UnsafeRawBufferPointer, _ suffix: StaticString) -> Bool {
        let start = type.count - suffix.utf8CodeUnitCount
        guard start > 0 else { return false }
        return HTTPField.equals(UnsafeRawBufferPointer(rebasing: type[start...]), suffix)
    }
}
