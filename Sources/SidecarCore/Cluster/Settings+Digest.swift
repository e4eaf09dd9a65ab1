import Crypto

extension Settings {
    /// A digest of what has to be the same on all nodes: how channels behave.
    package var channelDigest: String {
        let names = ["HISTORY_SIZE", "HISTORY_TTL", "CHANNEL_POLICIES", "CHANNEL_EVENTS"]
        let values = SettingsRegistry.standard.definitions.filter { names.contains($0.name) }.map {
            "\($0.name)=\($0.show(self) ?? "")"
        }
        let digest = SHA256.hash(data: Array(values.joined(separator: "\n").utf8))
        return digest.prefix(8).map { byte in
            let text = String(byte, radix: 16)
            return text.count == 1 ? "0\(text)" : text
        }.joined()
    }
}
