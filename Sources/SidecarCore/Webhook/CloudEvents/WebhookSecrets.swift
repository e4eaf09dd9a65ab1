import Crypto
import NIOCore

/// The secrets that events are signed with, by the rules of Standard Webhooks 1.0.
public struct WebhookSecrets: Sendable, Equatable {
    /// The prefix of a secret; base64 follows.
    static let prefix = "whsec_"
    /// The length of a key, in bytes.
    static let keyBytes = 24...64

    /// The secrets as they were given.
    let text: String
    private let keys: [SymmetricKey]

    /// Reads one or more secrets separated by spaces; nil when one of them is invalid.
    public init?(_ text: String) {
        let items = text.split(whereSeparator: \.isWhitespace)
        var keys: [SymmetricKey] = []
        for item in items {
            guard item.hasPrefix(Self.prefix),
                let key = Base64.decoded(String(item.dropFirst(Self.prefix.utf8.count))),
                Self.keyBytes.contains(key.readableBytes)
            else { return nil }
            keys.append(SymmetricKey(data: Array(key.readableBytesView)))
        }
        guard !keys.isEmpty else { return nil }
        self.keys = keys
        self.text = items.joined(separator: " ")
    }

    /// Writes the three header fields of an event.
    ///
    /// - Parameters:
    ///   - id: The event's `ce-id`.
    ///   - unixSeconds: The time of this attempt; receivers refuse old ones.
    func write(id: String, unixSeconds: Int64, body: ByteBuffer, into buffer: inout ByteBuffer) {
        let start = "\(id).\(unixSeconds)."
        buffer.writeField("webhook-id", id)
        buffer.writeField("webhook-timestamp", "\(unixSeconds)")
        buffer.writeStaticString("webhook-signature:")
        for key in keys {
            var code = HMAC<SHA256>(key: key)
            code.update(data: Array(start.utf8))
            body.withUnsafeReadableBytes { code.update(data: $0) }
            buffer.writeStaticString(" v1,")
            Base64.write(ByteBuffer(bytes: code.finalize()), into: &buffer)
        }
        buffer.writeStaticString("\r\n")
    }
}

extension ValueSyntax where Value == WebhookSecrets {
    static let webhookSecrets = ValueSyntax(
        accepted: "whsec_ and the base64 of 24 to 64 bytes; separate several with spaces, for rotation",
        read: { text throws(ValueProblem) in
            guard let secrets = WebhookSecrets(text) else { throw ValueProblem("is not a valid secret") }
            return secrets
        },
        show: { $0.text }
    )
}
