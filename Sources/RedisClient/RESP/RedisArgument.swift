public import NIOCore

/// An argument of a command.
public enum RedisArgument: Sendable, Hashable, ExpressibleByStringLiteral, ExpressibleByIntegerLiteral {
    /// A text, sent as UTF-8.
    case text(String)
    /// Any bytes.
    case bytes(ByteBuffer)
    /// A number, sent as decimal digits.
    case number(Int64)

    /// A text that stands in the source.
    public init(stringLiteral value: String) { self = .text(value) }

    /// A number that stands in the source.
    public init(integerLiteral value: Int64) { self = .number(value) }

    /// How many bytes it takes at most when it is sent.
    var maxEncodedBytes: Int {
        switch self {
        // A length of any 64 bits, the type and two line ends take 25 bytes at most.
        case .text(let text): text.utf8.count + 25
        case .bytes(let bytes): bytes.readableBytes + 25
        case .number: 32
        }
    }
}

extension ByteBuffer {
    /// Writes the head of a command with so many arguments, its name included.
    mutating func writeRESPCommandHead(argumentCount: Int) {
        writeRESPHeader(UInt8(ascii: "*"), argumentCount)
    }

    /// Writes an argument.
    mutating func writeRESPArgument(_ argument: RedisArgument) {
        switch argument {
        case .text(let text): writeRESPArgument(text)
        case .bytes(let bytes):
            writeRESPHeader(UInt8(ascii: "$"), bytes.readableBytes)
            writeImmutableBuffer(bytes)
            writeStaticString("\r\n")
        case .number(let number): writeRESPArgument(String(number))
        }
    }

    /// Writes a text as an argument.
    mutating func writeRESPArgument(_ text: String) {
        writeRESPHeader(UInt8(ascii: "$"), text.utf8.count)
        writeString(text)
        writeStaticString("\r\n")
    }

    private mutating func writeRESPHeader(_ type: UInt8, _ count: Int) {
        writeInteger(type)
        if count >= 0, count < 10 {
            writeInteger(UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: count))
        } else {
            writeString(String(count))
        }
        writeStaticString("\r\n")
    }
}
