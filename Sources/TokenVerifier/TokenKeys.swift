import FoundationEssentials
import JWTKit
public import SidecarCore

/// The keys that tokens are verified with, each for one `kid` and one algorithm.
///
/// A token names its key exactly: there is no default for a `kid` that is not known, and no algorithm that a key was not
/// loaded for (RFC 8725 §3.1).
public struct TokenKeys: Sendable {
    private struct Name: Hashable {
        let id: String?
        let algorithm: TokenAlgorithm
    }

    private var keys: [Name: any JWTAlgorithm] = [:]

    /// No keys.
    public init() {}

    /// True without any key.
    public var isEmpty: Bool { keys.isEmpty }

    /// The keys of both; those of `other` win.
    public func merging(_ other: TokenKeys) -> TokenKeys {
        var merged = self
        merged.keys.merge(other.keys) { $1 }
        return merged
    }

    func key(id: String?, algorithm: TokenAlgorithm) -> (any JWTAlgorithm)? {
        keys[Name(id: id, algorithm: algorithm)]
    }
    func knows(id: String?) -> Bool { keys.keys.contains { $0.id == id } }

    // MARK: One key

    /// A key as text: a PEM public key, or else a shared secret.
    ///
    /// - Parameters:
    ///   - id: The `kid` that tokens have to name; nil when they must name none.
    ///   - algorithms: Those that it may be used with.
    ///   - isOnly: Whether all of them have to fit it, since there are no other keys.
    public init(text: String, id: String?, algorithms: [TokenAlgorithm], isOnly: Bool) async throws(TokenKeyError) {
        let isPEM = text.contains("-----BEGIN")
        let signers = isPEM ? try await Self.publicKey(pem: text) : try await Self.secret(text, algorithms)
        for algorithm in algorithms {
            if let signer = signers[algorithm] {
                keys[Name(id: id, algorithm: algorithm)] = signer
            } else if isOnly, isPEM == algorithm.rawValue.hasPrefix("HS") {
                throw .mismatch(algorithm.rawValue)
            }
        }
        if keys.isEmpty { throw .noAlgorithm }
    }

    private static func secret(
        _ text: String,
        _ algorithms: [TokenAlgorithm]
    ) async throws(TokenKeyError) -> [TokenAlgorithm: any JWTAlgorithm] {
        let bytes = text.utf8.count
        // The library would stop the process at a shorter one.
        let digests: [(algorithm: TokenAlgorithm, bytes: Int, digest: DigestAlgorithm)] = [
            (.hs256, 32, .sha256), (.hs384, 48, .sha384), (.hs512, 64, .sha512),
        ]
        if let short = digests.last(where: { algorithms.contains($0.algorithm) && bytes < $0.bytes }) {
            throw .shortSecret(short.bytes)
        }
        return await signers { keys, algorithm in
            guard let use = digests.first(where: { $0.algorithm == algorithm }), bytes >= use.bytes else { return }
            await keys.add(hmac: HMACKey(from: text), digestAlgorithm: use.digest)
        }
    }

    private static func publicKey(pem: String) async throws(TokenKeyError) -> [TokenAlgorithm: any JWTAlgorithm] {
        let found: [TokenAlgorithm: any JWTAlgorithm]
        if let key = try? Insecure.RSA.PublicKey(pem: pem) {
            found = await signers { keys, algorithm in
                switch algorithm {
                case .rs256: await keys.add(rsa: key, digestAlgorithm: .sha256)
                case .rs384: await keys.add(rsa: key, digestAlgorithm: .sha384)
                case .rs512: await keys.add(rsa: key, digestAlgorithm: .sha512)
                case .ps256: await keys.add(pss: key, digestAlgorithm: .sha256)
                case .ps384: await keys.add(pss: key, digestAlgorithm: .sha384)
                case .ps512: await keys.add(pss: key, digestAlgorithm: .sha512)
                default: break
                }
            }
        } else if let key = try? ES256PublicKey(pem: pem) {
            found = await signers { if $1 == .es256 { await $0.add(ecdsa: key) } }
        } else if let key = try? ES384PublicKey(pem: pem) {
            found = await signers { if $1 == .es384 { await $0.add(ecdsa: key) } }
        } else if let key = try? ES512PublicKey(pem: pem) {
            found = await signers { if $1 == .es512 { await $0.add(ecdsa: key) } }
        } else if let key = try? EdDSA.PublicKey(pem: pem) {
            found = await signers { if $1 == .edDSA { await $0.add(eddsa: key) } }
        } else {
            throw .unreadable
        }
        if found.isEmpty { throw .unreadable }
        return found
    }

    /// What each algorithm verifies with, for the kinds that `add` knows.
    private static func signers(
        _ add: (_ keys: JWTKeyCollection, _ algorithm: TokenAlgorithm) async -> Void
    ) async -> [TokenAlgorithm: any JWTAlgorithm] {
        var found: [TokenAlgorithm: any JWTAlgorithm] = [:]
        for algorithm in TokenAlgorithm.allCases {
            // One collection each: asked for a key that it has not, it would give another one.
            let keys = JWTKeyCollection()
            await add(keys, algorithm)
            if let key = try? await keys.getKey(), key.name == algorithm.rawValue { found[algorithm] = key }
        }
        return found
    }

    // MARK: Key sets

    /// The usable keys of a JSON Web Key Set: for signatures, with a `kid`, of a kind that an allowed algorithm needs.
    ///
    /// Whatever else stands in it is passed over (RFC 7517 §5).
    public init(keySet bytes: [UInt8], algorithms: [TokenAlgorithm]) async throws(TokenKeyError) {
        guard let entries = JSONValue(bytes)?.object?["keys"]?.array else { throw .noKeySet }
        for case .object(let entry) in entries {
            guard entry["use"] == nil || entry["use"]?.string == "sig", let key = Self.publicKey(of: entry),
                let id = key.keyIdentifier?.string
            else { continue }
            for algorithm in algorithms where key.algorithm == nil || key.algorithm?.rawValue == algorithm.rawValue {
                let keys = JWTKeyCollection()
                guard (try? await keys.add(jwk: key)) != nil,
                    let signer = try? await keys.getKey(for: JWKIdentifier(string: id), alg: algorithm.rawValue),
                    signer.name == algorithm.rawValue
                else { continue }
                self.keys[Name(id: id, algorithm: algorithm)] = signer
            }
        }
    }

    /// The public parts of a key, in JSON of our own: the decoder of the library must not see what others wrote, since
    /// it stops the process at some malformed texts.
    private static func publicKey(of entry: [String: JSONValue]) -> JWK? {
        let names: Set<String> = ["kty", "kid", "alg", "n", "e", "crv", "x", "y"]
        let members = entry.filter { names.contains($0.key) && $0.value.string != nil }
        return try? JSONDecoder().decode(JWK.self, from: Data(JSONValue.object(members).json.utf8))
    }
}
