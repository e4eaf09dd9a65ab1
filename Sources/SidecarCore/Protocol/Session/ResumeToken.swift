import Crypto

/// What a client shows to resume a session: 256 random bits as base64url (RFC 4648 §5), and in a cluster the node that
/// made it.
///
/// Whoever has it can take the session over. Only its ``hash`` is kept here.
public struct ResumeToken: Sendable, Equatable {
    /// The first 128 bits of the SHA-256 of a token.
    public struct Hash: Sendable, Hashable {
        let high: UInt64
        let low: UInt64

        /// 32 hexadecimal digits.
        public var text: String { MessageID(high).description + MessageID(low).description }

        /// Reads them; nil for anything else.
        public init?(_ text: String) {
            guard text.utf8.count == 32, let high = MessageID(text.prefix(16)), let low = MessageID(text.suffix(16))
            else { return nil }
            self.init(high: high.bits, low: low.bits)
        }

        init(high: UInt64, low: UInt64) {
            self.high = high
            self.low = low
        }
    }

    private static let length = 43
    /// The length of a ``NodeID``.
    private static let nodeLength = 16

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
        let length = text.utf8.count
        guard length == Self.length || length == Self.length + Self.nodeLength, isToken else { return nil }
        self.text = text
    }

    private init(_ digits: [UInt8], _ node: NodeID?) {
        text = String(decoding: digits, as: UTF8.self) + (node ?? "")
    }

    /// The node that made it, as the client says; nil without a cluster.
    public var node: NodeID? {
        text.utf8.count == Self.length ? nil : String(text.suffix(Self.nodeLength))
    }

    /// A new token.
    ///
    /// - Parameters:
    ///   - node: The node that makes it; nil without a cluster.
    ///   - nextBits: Makes random bits that nobody can guess.
    public static func make(by node: NodeID? = nil, _ nextBits: () -> UInt64) -> ResumeToken {
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
        return ResumeToken(digits, node)
    }

    /// By what it is known here.
    public var hash: Hash {
        func number(_ bytes: some Sequence<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        let digest = Array(SHA256.hash(data: Array(text.utf8)))
        return Hash(high: number(digest[0..<8]), low: number(digest[8..<16]))
    }
}
