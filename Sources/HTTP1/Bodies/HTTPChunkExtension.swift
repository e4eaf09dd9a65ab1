/// Checks chunk extensions byte by byte and throws their meaning away (RFC 9112 §7.1.1).
///
/// White space around `;` and `=`, which the RFC calls bad, is refused: no sender writes it, and readers differ on it.
struct HTTPChunkExtension: Sendable {
    private enum State {
        case nameStart
        case name
        case valueStart
        case token
        case quoted
        case escaped
        case quotedEnd
    }

    private var state = State.nameStart

    /// How many bytes the extensions of this line have so far, the first `;` included.
    private(set) var count = 1

    /// Says whether the line may end here.
    var isComplete: Bool {
        switch state {
        case .name, .token, .quotedEnd: true
        case .nameStart, .valueStart, .quoted, .escaped: false
        }
    }

    /// Takes one byte behind the first `;`.
    mutating func read(_ byte: UInt8) throws(HTTPParseError) {
        count += 1
        guard count <= HTTPLimits.maxChunkExtensionBytes, let next = state(after: byte) else {
            throw .invalidChunkExtension
        }
        state = next
    }

    private func state(after byte: UInt8) -> State? {
        let isToken = HTTPField.isTokenByte(byte)
        switch (state, byte) {
        case (.quoted, UInt8(ascii: "\"")): return .quotedEnd
        case (.quoted, UInt8(ascii: "\\")): return .escaped
        case (.quoted, _), (.escaped, _): return HTTPField.isValueByte(byte) ? .quoted : nil
        case (.name, UInt8(ascii: "=")): return .valueStart
        case (.name, UInt8(ascii: ";")), (.token, UInt8(ascii: ";")), (.quotedEnd, UInt8(ascii: ";")): return .nameStart
        case (.nameStart, _), (.name, _): return isToken ? .name : nil
        case (.valueStart, UInt8(ascii: "\"")): return .quoted
        case (.valueStart, _), (.token, _): return isToken ? .token : nil
        case (.quotedEnd, _): return nil
        }
    }
}
