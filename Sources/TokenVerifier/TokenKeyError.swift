/// Why a key cannot be used.
public enum TokenKeyError: Error, Sendable, Equatable {
    /// It is no PEM public key of a supported kind.
    case unreadable
    /// A shared secret that is shorter than the hash that it is used with (RFC 7518 §3.2), in bytes.
    case shortSecret(Int)
    /// None of the allowed algorithms can be used with it.
    case noAlgorithm
    /// An allowed algorithm is of another kind than the key: a public key must never serve as a shared secret.
    case mismatch(String)
    /// It is no JSON Web Key Set (RFC 7517 §5).
    case noKeySet

    /// What is accepted, for messages.
    public static let accepted =
        "a PEM public key (RSA, EC or Ed25519), or a shared secret of at least 32 bytes, "
        + "of the kind that JWT_ALGORITHMS names"

    /// What is wrong, in words that carry nothing of the key.
    public var problem: String {
        switch self {
        case .unreadable: "it is not a readable PEM public key"
        case .shortSecret(let bytes): "a shared secret for JWT_ALGORITHMS has at least \(bytes) bytes"
        case .noAlgorithm: "no algorithm of JWT_ALGORITHMS can use it"
        case .mismatch(let algorithm): "it is the wrong kind of key for \(algorithm) (JWT_ALGORITHMS)"
        case .noKeySet: "it is not a key set"
        }
    }
}
