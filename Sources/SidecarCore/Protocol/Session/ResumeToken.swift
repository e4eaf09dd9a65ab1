import Crypto

/// What a client shows to resume a session: 256 random bits as base64url (RFC 4648 §5).
///
/// Whoever has it can take the session over. Only its ``hash`` is kept here.
public struct ResumeToken: Sendable, Equatable {
    /// The first 128 bits of the SHA-256 of a token.
    public struct Hash: Sendable, Hashable {
        let high: UInt64
        let low: UInt64
    }

    private static let length = 43

    /// As the client gets it.
    public let text: String

    /// Reads a token; nil for what cannot be one.
    public init?(_ text: String) {
        let isToken = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        guard text.utf8.count == Self.length, isToken else { return nil }
        self.text = text
    }

    private init(_ digits: [UInt8]) {
        text = String(decoding: digits, as: UTF8.self)
    }

    /// A new token.
    ///
    /// - Parameter nextBits: Makes random bits that nobody can guess.
    public static func make(_ nextBits: () -> UInt64) -> ResumeToken {
        let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        var digits: [UInt8] = []
        digits.reserveCapacity(length)
        while digits.count < length {
            var bits = nextBits()
            for _ in 0..<min(10, length - digits.count) {
                digits.append(alphabet.utf8Start[Int(bits & 63)])
                bits >>= 6
            }
        }
        return ResumeToken(digits)
    }

    /// By what it is known here.
    public var hash: Hash {
        func number(_ bytes: some Sequence<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        let digest = Array(SHA256.hash(data: Array(text.utf8)))
        return Hash(high: number(digest[0..<8]), low: number(digest[8..<16]))
    }
}
