/// The rules for the `type` of frames.
public enum FrameType {
    /// The longest type, in bytes.
    public static let maxBytes = 128

    /// Whether a frame of this type is an event from client to client.
    static func isClientEvent(_ type: String) -> Bool { type.hasPrefix("client-") }

    /// Whether the protocol keeps a type for itself, so that neither the app nor a message may have it.
    static func isReserved(_ type: String) -> Bool { type.hasPrefix("$") || isClientEvent(type) }

    /// Whether it is 1 to ``maxBytes`` printable ASCII characters.
    static func isValid(_ type: String) -> Bool {
        (1...maxBytes).contains(type.utf8.count) && type.utf8.allSatisfy { 0x20...0x7E ~= $0 }
    }
}
