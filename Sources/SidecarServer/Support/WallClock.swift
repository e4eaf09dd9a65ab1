#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The wall clock; the only place that reads it.
enum WallClock {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    static func unixMilliseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }
}

/// Names for connections that nobody can guess.
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
