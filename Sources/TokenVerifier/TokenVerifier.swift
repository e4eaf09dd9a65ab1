import FoundationEssentials
import JWTKit
import SidecarCore

/// Verifies JSON Web Tokens (RFC 7519) by the rules of RFC 8725.
public struct TokenVerifier: Sendable {
    /// The largest token, in bytes.
    public static let maxBytes = 16 << 10

    /// What tokens have to be like.
    public let policy: TokenPolicy
    private let keys: TokenKeys

    /// A verifier with these keys.
    public init(policy: TokenPolicy, keys: TokenKeys) {
        self.policy = policy
        self.keys = keys
    }

    /// Verifies a token.
    ///
    /// - Parameter now: Seconds since 1970.
    public func verify(_ token: String, now: Double) throws(TokenRefusal) -> VerifiedToken {
        guard token.utf8.count <= Self.maxBytes else { throw .tooLarge }
        let parts = token.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Self.object(parts[0]), let signature = Self.bytes(parts[2]) else {
            throw .malformed
        }
        let key = try key(for: header)
        let signed = token.utf8.prefix(parts[0].count + 1 + parts[1].count)
        guard (try? key.verify(signature, signs: Array(signed))) == true else { throw .signature }
        guard let claims = Self.object(parts[1]) else { throw .malformed }
        return try accept(claims, now: now)
    }

    /// Of the header only `alg`, `kid` and `crit` count: keys that a token brings along, or points to, are no keys.
    private func key(for header: [String: JSONValue]) throws(TokenRefusal) -> any JWTAlgorithm {
        guard header["crit"] == nil else { throw .critical }
        guard case .string(let name)? = header["alg"], let algorithm = TokenAlgorithm(rawValue: name),
            policy.algorithms.contains(algorithm)
        else { throw .algorithm }
        let id: String?
        switch header["kid"] {
        case nil: id = nil
        case .string(let text)?: id = text
        default: throw .malformed
        }
        guard let key = keys.key(id: id, algorithm: algorithm) else {
            throw keys.knows(id: id) ? .algorithm : .unknownKey
        }
        return key
    }

    private func accept(_ claims: [String: JSONValue], now: Double) throws(TokenRefusal) -> VerifiedToken {
        guard let expiry = claims["exp"] else { throw .noExpiry }
        guard let expiry = expiry.date else { throw .malformed }
        let expiresAt = expiry + policy.leeway
        guard now < expiresAt else { throw .expired }
        if let notBefore = claims["nbf"] {
            guard let notBefore = notBefore.date else { throw .malformed }
            guard now >= notBefore - policy.leeway else { throw .notYetValid }
        }
        if !policy.issuers.isEmpty {
            guard let issuer = claims["iss"]?.string, Self.isListed(issuer, policy.issuers) else { throw .issuer }
        }
        if !policy.audiences.isEmpty {
            let audiences = claims["aud"]?.strings ?? []
            guard audiences.contains(where: { Self.isListed($0, policy.audiences) }) else { throw .audience }
        }
        return VerifiedToken(
            user: try user(in: claims),
            expiresAt: expiresAt,
            claims: policy.forwardedClaims.compactMap { forwarded in
                claims[forwarded.claim].map { VerifiedToken.Claim(name: forwarded.name, value: $0.text) }
            }
        )
    }

    /// By bytes: two spellings of one text are not the same (RFC 7519 §7.3).
    private static func isListed(_ text: String, _ list: [String]) -> Bool {
        list.contains { $0.utf8.elementsEqual(text.utf8) }
    }

    private func user(in claims: [String: JSONValue]) throws(TokenRefusal) -> UserName {
        let user: String
        switch claims[policy.userClaim] {
        case .string(let text)?: user = text
        case .integer(let number)?: user = "\(number)"
        default: throw .noUser
        }
        guard !user.isEmpty, user.utf8.count <= UserName.maxBytes else { throw .noUser }
        return UserName(user)
    }

    private static func object(_ part: Substring.UTF8View) -> [String: JSONValue]? {
        bytes(part).flatMap { JSONValue($0)?.object }
    }

    /// base64url without padding (RFC 7515 §2).
    private static func bytes(_ part: Substring.UTF8View) -> [UInt8]? {
        var text: [UInt8] = []
        text.reserveCapacity(part.count + 3)
        for byte in part {
            switch byte {
            case UInt8(ascii: "-"): text.append(UInt8(ascii: "+"))
            case UInt8(ascii: "_"): text.append(UInt8(ascii: "/"))
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                text.append(byte)
            default: return nil
            }
        }
        while text.count % 4 != 0 { text.append(UInt8(ascii: "=")) }
        return Data(base64Encoded: Data(text)).map(Array.init)
    }
}

extension JSONValue {
    /// Seconds since 1970 of a NumericDate (RFC 7519 §2).
    fileprivate var date: Double? {
        switch self {
        case .integer(let seconds): Double(seconds)
        case .number(let seconds): seconds.isFinite ? seconds : nil
        default: nil
        }
    }

    /// The strings of an array, or the one string.
    fileprivate var strings: [String] { string.map { [$0] } ?? (array ?? []).compactMap(\.string) }

    /// A string as it is, and everything else as JSON.
    fileprivate var text: String { string ?? json }
}
