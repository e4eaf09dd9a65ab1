import Crypto
import FoundationEssentials
import NIOCore
import SidecarCore
import Synchronization

/// Encrypts and authenticates what nodes send to each other and store (`CLUSTER_SECRET`): AES-256-GCM with keys that are
/// derived from the secret for each writer (HKDF with SHA-256, RFC 5869), so that no key seals too much.
///
/// The first byte says whether the rest is plain, or a nonce, the sealed bytes and their tag.
final class ClusterSeal: Sendable {
    /// The most derived keys that are kept; deriving one costs more than sealing.
    private static let mostKeys = 256
    private static let plain: UInt8 = 0
    private static let sealed: UInt8 = 1
    private static let salt = Array("sidesocket cluster 1".utf8)

    /// The first is used, what was sealed with any of them is accepted; empty without a secret.
    private let secrets: [SymmetricKey]
    private let derived = Mutex<[String: [SymmetricKey]]>([:])

    init(_ secrets: ClusterSecrets?) {
        self.secrets = (secrets?.secrets ?? []).map { SymmetricKey(data: Array($0.utf8)) }
    }

    /// The keys of a writer, one for each secret.
    private func keys(of writer: String) -> [SymmetricKey] {
        derived.withLock { derived in
            if let known = derived[writer] { return known }
            let keys = secrets.map {
                HKDF<SHA256>.deriveKey(
                    inputKeyMaterial: $0,
                    salt: Self.salt,
                    info: Array(writer.utf8),
                    outputByteCount: 32
                )
            }
            if derived.count >= Self.mostKeys { derived = [:] }
            derived[writer] = keys
            return keys
        }
    }

    /// Seals what somebody writes; without a secret it stays readable.
    ///
    /// - Parameter context: What the bytes are; they can be opened only as the same.
    func seal(_ bytes: ByteBuffer, by writer: String, as context: String) -> ByteBuffer {
        var buffer = ByteBuffer()
        guard let key = keys(of: writer).first else {
            buffer.writeInteger(Self.plain)
            buffer.writeImmutableBuffer(bytes)
            return buffer
        }
        let box = try? AES.GCM.seal(
            Array(bytes.readableBytesView),
            using: key,
            authenticating: Array(context.utf8)
        )
        buffer.writeInteger(Self.sealed)
        // With a key of 32 bytes and a random nonce sealing does not fail; without a box nothing can be opened.
        if let combined = box?.combined { buffer.writeBytes(combined) }
        return buffer
    }

    /// Opens what was sealed; nil for anything that was not sealed by this writer as this, with one of the secrets.
    func open(_ bytes: ByteBuffer, by writer: String, as context: String) -> ByteBuffer? {
        var bytes = bytes
        switch bytes.readInteger(as: UInt8.self) {
        case Self.plain: return secrets.isEmpty ? bytes : nil
        case Self.sealed:
            guard let box = try? AES.GCM.SealedBox(combined: Data(bytes.readableBytesView)) else { return nil }
            for key in keys(of: writer) {
                let opened = try? AES.GCM.open(box, using: key, authenticating: Array(context.utf8))
                if let opened { return ByteBuffer(bytes: opened) }
            }
            return nil
        default: return nil
        }
    }
}
