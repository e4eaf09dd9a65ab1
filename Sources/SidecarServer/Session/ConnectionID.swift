/// Unguessable ids of connections.
enum ConnectionID {
    /// 128 random bits as 22 characters of `A–Z a–z 0–9 _ -` (base64url, RFC 4648 §5).
    static func make() -> String {
        let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
        var generator = SystemRandomNumberGenerator()
        var bits = (generator.next(), generator.next())
        return String(unsafeUninitializedCapacity: 22) { out in
            for index in 0..<22 {
                out[index] = alphabet.utf8Start[Int(bits.0 & 63)]
                bits.0 = bits.0 >> 6 | bits.1 << 58
                bits.1 >>= 6
            }
            return 22
        }
    }
}
