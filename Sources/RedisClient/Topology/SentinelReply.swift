/// What Sentinels say about masters.
enum SentinelReply {
    /// The address in a reply to `SENTINEL GET-MASTER-ADDR-BY-NAME`; nil when the service is unknown or the reply has
    /// another shape.
    static func address(_ value: RESPValue, asked: String) -> RedisAddress? {
        guard let items = value.items, items.count == 2, let host = items[0].text, !host.isEmpty else { return nil }
        return RedisAddress(serverHost: host, port: items[1].integer, asked: asked)
    }

    /// The new address in a message of `+switch-master`, if it is about this service: name, old host and port, new host
    /// and port.
    static func switchedMaster(_ message: String, service: String) -> RedisAddress? {
        let words = message.split(separator: " ")
        guard words.count == 5, words[0] == service, let port = Int64(words[4]) else { return nil }
        return RedisAddress(serverHost: String(words[3]), port: port, asked: "")
    }
}
