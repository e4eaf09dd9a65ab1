import FoundationEssentials
import JWTKit
import SidecarCore
import Testing

@testable import TokenVerifier

private let secret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/// Tokens that are made by hand, so that they can be wrong in any way.
private enum Forge {
    static func part(_ text: String) -> String {
        String(
            Data(text.utf8).base64EncodedString().compactMap {
                $0 == "=" ? nil : $0 == "+" ? "-" : $0 == "/" ? "_" : $0
            }
        )
    }

    static func token(header: String = #"{"alg":"HS256"}"#, claims: String, key: String = secret) async throws -> String
    {
        let signed = part(header) + "." + part(claims)
        let keys = JWTKeyCollection()
        await keys.add(hmac: HMACKey(from: key), digestAlgorithm: .sha256)
        let signature = try await keys.getKey().sign(Data(signed.utf8))
        let encoded = Data(signature).base64EncodedString()
        return signed + "."
            + encoded.compactMap { $0 == "=" ? "" : $0 == "+" ? "-" : $0 == "/" ? "_" : "\($0)" }.joined()
    }
}

@Suite("Token verifier")
struct TokenVerifierTests {
    private let now = 1_800_000_000.0

    private func verifier(
        id: String? = nil,
        _ change: (inout TokenPolicy) -> Void = { _ in }
    ) async throws -> TokenVerifier {
        var policy = TokenPolicy(algorithms: [.hs256])
        change(&policy)
        let keys = try await TokenKeys(text: secret, id: id, algorithms: [.hs256], isOnly: true)
        return TokenVerifier(policy: policy, keys: keys)
    }

    private func refusal(_ verifier: TokenVerifier, _ token: String) -> TokenRefusal? {
        do throws(TokenRefusal) {
            _ = try verifier.verify(token, now: now)
            return nil
        } catch {
            return error
        }
    }

    @Test("A good token names its user, its end with the leeway, and the claims that are asked for")
    func good() async throws {
        let token = try await Forge.token(
            claims: #"{"sub":"42","exp":1800000100,"org":{"b":[1,null,true,"x\n"],"a":1.5},"name":"Zoë"}"#
        )
        let verified = try await verifier {
            $0.forwardedClaims = [
                .init(claim: "org", name: "claimorg"), .init(claim: "name", name: "claimname"),
                .init(claim: "none", name: "claimnone"),
            ]
        }.verify(token, now: now)
        #expect(verified.user == "42" && verified.expiresAt == 1_800_000_130)
        #expect(verified.claims.map(\.name) == ["claimorg", "claimname"])
        #expect(verified.claims.map(\.value) == [#"{"a":1.5,"b":[1,null,true,"x\u000a"]}"#, "Zoë"])
    }

    @Test(
        "Each claim is judged at its edge",
        arguments: [
            (#"{"sub":"a"}"#, TokenRefusal.noExpiry), (#"{"sub":"a","exp":"1800000100"}"#, .malformed),
            (#"{"sub":"a","exp":null}"#, .malformed), (#"{"sub":"a","exp":1799999970}"#, .expired),
            (#"{"sub":"a","exp":1799999971}"#, nil), (#"{"sub":"a","exp":1e300}"#, nil),
            (#"{"sub":"a","exp":1800000100,"nbf":1800000030}"#, nil),
            (#"{"sub":"a","exp":1800000100,"nbf":1800000031}"#, .notYetValid),
            (#"{"sub":"a","exp":1800000100,"nbf":"x"}"#, .malformed),
            (#"{"exp":1800000100}"#, .noUser), (#"{"sub":"","exp":1800000100}"#, .noUser),
            (#"{"sub":["a"],"exp":1800000100}"#, .noUser), (#"{"sub":7,"exp":1800000100}"#, nil),
            (#"["sub"]"#, .malformed), ("", .malformed),
        ]
    )
    func claims(claims: String, expected: TokenRefusal?) async throws {
        let token = try await Forge.token(claims: claims)
        #expect(refusal(try await verifier(), token) == expected)
    }

    @Test(
        "Of the header only alg, kid and crit count, and each exactly",
        arguments: [
            (#"{"alg":"none"}"#, TokenRefusal.algorithm), (#"{"alg":"nOnE"}"#, .algorithm),
            (#"{"alg":"hs256"}"#, .algorithm), (#"{"alg":"HS512"}"#, .algorithm), (#"{}"#, .algorithm),
            (#"{"alg":"HS256","crit":[]}"#, .critical), (#"{"alg":"HS256","kid":"x"}"#, .unknownKey),
            (#"{"alg":"HS256","kid":1}"#, .malformed), (#"{"alg":"HS256","jku":"http://x","jwk":{}}"#, nil),
        ]
    )
    func headers(header: String, expected: TokenRefusal?) async throws {
        let token = try await Forge.token(header: header, claims: #"{"sub":"a","exp":1800000100}"#)
        #expect(refusal(try await verifier(), token) == expected)
    }

    @Test("With an id for the key, only tokens that name it are its own")
    func keyID() async throws {
        let claims = #"{"sub":"a","exp":1800000100}"#
        let named = try await Forge.token(header: #"{"alg":"HS256","kid":"k1"}"#, claims: claims)
        let unnamed = try await Forge.token(claims: claims)
        let verifier = try await verifier(id: "k1")
        #expect(refusal(verifier, named) == nil && refusal(verifier, unnamed) == .unknownKey)
    }

    @Test("Issuer and audience have to be on the list, if there is one")
    func issuerAndAudience() async throws {
        let verifier = try await verifier {
            $0.issuers = ["me", "us"]
            $0.audiences = ["chat"]
        }
        func claims(_ more: String) async throws -> TokenRefusal? {
            refusal(verifier, try await Forge.token(claims: #"{"sub":"a","exp":1800000100\#(more)}"#))
        }
        #expect(try await claims(#","iss":"us","aud":"chat""#) == nil)
        #expect(try await claims(#","iss":"us","aud":["x","chat"]"#) == nil)
        #expect(try await claims(#","iss":"them","aud":"chat""#) == .issuer)
        #expect(try await claims(#","aud":"chat""#) == .issuer)
        #expect(try await claims(#","iss":"me""#) == .audience)
        #expect(try await claims(#","iss":"me","aud":["x"]"#) == .audience)
    }

    @Test("Damage anywhere is noticed, and nothing makes it crash")
    func damage() async throws {
        let token = Array(try await Forge.token(claims: #"{"sub":"a","exp":1800000100}"#).utf8)
        let verifier = try await verifier()
        for index in token.indices {
            #expect(refusal(verifier, String(decoding: token[..<index], as: UTF8.self)) != nil)
            for byte in [UInt8(ascii: "."), UInt8(ascii: "A"), UInt8(ascii: "="), 0, 0xFF] where byte != token[index] {
                var damaged = token
                damaged[index] = byte
                // The last digit of the signature has bits that mean nothing.
                if index == token.count - 1, byte == UInt8(ascii: "A") { continue }
                #expect(refusal(verifier, String(decoding: damaged, as: UTF8.self)) != nil, "at \(index)")
            }
        }
        for text in ["", ".", "..", "...", String(repeating: "a.", count: 9000)] {
            #expect(refusal(verifier, text) != nil)
        }
        #expect(refusal(verifier, String(repeating: "a", count: TokenVerifier.maxBytes + 1)) == .tooLarge)
        let deep = try await Forge.token(claims: String(repeating: "[", count: 8000))
        #expect(refusal(verifier, deep) == .malformed)
    }

    @Test("A shared secret has to be as long as its hash, and a public key is none")
    func secrets() async throws {
        func fault(_ text: String, _ algorithms: [TokenAlgorithm]) async -> TokenKeyError? {
            do throws(TokenKeyError) {
                _ = try await TokenKeys(text: text, id: nil, algorithms: algorithms, isOnly: true)
                return nil
            } catch {
                return error
            }
        }
        #expect(await fault(String(repeating: "x", count: 31), [.hs256]) == .shortSecret(32))
        #expect(await fault(String(repeating: "x", count: 32), [.hs256]) == nil)
        #expect(await fault(String(repeating: "x", count: 63), [.hs256, .hs512]) == .shortSecret(64))
        #expect(await fault(secret, [.rs256]) == .mismatch("RS256"))
        #expect(await fault("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", [.rs256]) == .unreadable)
        let pem = ES256PrivateKey().publicKey.pemRepresentation
        #expect(await fault(pem, [.es256]) == nil)
        #expect(await fault(pem, [.hs256]) == .mismatch("HS256"))
        #expect(await fault(pem, [.rs256]) == .noAlgorithm)
    }

    @Test(
        "What is no key set is refused, and keys of no use in one are passed over",
        arguments: [
            ("", false), ("[]", false), ("{}", false), (#"{"keys":{}}"#, false), (#"{"keys":[]}"#, true),
            (#"{"keys":[1,null,{},{"kty":"oct","k":"AAAA","kid":"a"},{"kty":"RSA","kid":"a"}]}"#, true),
            (
                #"{"keys":[{"kty":"RSA","kid":"a","n":"!","e":"!"},{"kty":"EC","kid":"b","crv":"P-256","x":"AA","y":"AA"}]}"#,
                true
            ),
            (
                #"{"keys":[{"kty":"OKP","kid":"c","crv":"Ed25519","x":"AA"},{"kty":"RSA","kid":"d","n":"AA","e":"AA"}]}"#,
                true
            ),
        ]
    )
    func keySets(text: String, isSet: Bool) async {
        let keys = try? await TokenKeys(keySet: Array(text.utf8), algorithms: TokenAlgorithm.allCases)
        #expect((keys != nil) == isSet && keys?.isEmpty != false)
    }
}
