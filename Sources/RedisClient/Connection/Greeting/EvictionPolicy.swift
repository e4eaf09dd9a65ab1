/// Which keys a server removes when its memory is full.
struct EvictionPolicy: Sendable, Equatable {
    /// What to ask a server.
    static let question = RedisCommand("INFO", ["memory"], slotKey: nil)

    /// The value of `maxmemory-policy`.
    let name: String

    /// Reads the reply to ``question``; nil when the server removes no key, since its memory has no bound or the policy
    /// is `noeviction`, and when the reply does not tell.
    init?(info value: RESPValue) {
        guard let text = value.text else { return nil }
        let fields = RedisInfo(text)
        guard let name = fields["maxmemory_policy"], name != "noeviction", fields["maxmemory"] != "0",
            (1...32).contains(name.utf8.count), name.utf8.allSatisfy({ (0x61...0x7A).contains($0) || $0 == 0x2D })
        else { return nil }
        self.name = name
    }
}
