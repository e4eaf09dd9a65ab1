import NIOCore

/// Characters that must not appear in a log line unescaped, whoever sent them.
public enum UnsafeText {
    /// True for control characters, for further line ends, and for invisible marks and those that change the direction
    /// of text. All of them lie in the basic plane.
    public static func mustEscape(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F..<0xA0, 0x061C, 0x200E...0x200F, 0x2028...0x202E, 0x2066...0x206F, 0xFEFF: true
        default: false
        }
    }
}

extension ByteBuffer {
    /// Writes a JSON string with its quotes that is safe to show on a terminal.
    mutating func writeLogString(_ text: String) {
        writeJSONString(text, .unsafeText)
    }
}
