/// What a server says about its role.
struct ServerRole: Sendable, Equatable {
    /// False for a replica and a Sentinel.
    let isMaster: Bool
    /// What names its data's history; nil when the reply does not tell.
    let replicationID: String?

    /// Reads the reply to `INFO replication`; nil when it names no role.
    init?(info value: RESPValue) {
        guard let text = value.text else { return nil }
        let fields = RedisInfo(text)
        guard let role = fields["role"] else { return nil }
        isMaster = role == "master"
        replicationID = fields["master_replid"]
    }

    /// Reads the reply to `ROLE`; nil when it names no role.
    init?(role value: RESPValue) {
        guard let name = value.items?.first, name.bytes != nil else { return nil }
        isMaster = name.isText("master")
        replicationID = nil
    }
}

/// The fields of a reply to `INFO`.
struct RedisInfo: Sendable {
    private var fields: [String: String] = [:]

    /// Reads lines of `name:value`; others, such as headings, are left out, and of two with one name the first counts.
    init(_ text: String) {
        for line in text.utf8.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }) {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")), line.first != UInt8(ascii: "#") else { continue }
            let name = String(Substring(line[..<colon]))
            if fields[name] == nil { fields[name] = String(Substring(line[line.index(after: colon)...])) }
        }
    }

    subscript(name: String) -> String? { fields[name] }
}
