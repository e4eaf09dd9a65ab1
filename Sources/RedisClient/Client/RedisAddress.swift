/// Where a server listens.
public struct RedisAddress: Sendable, Hashable, CustomStringConvertible {
    /// A host name or an IP address, IPv6 without brackets.
    public let host: String
    /// The TCP port.
    public let port: Int

    /// Makes an address.
    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// `host:port`, with brackets where the host has colons.
    public var description: String {
        host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// Reads `host:port` as servers write it, where IPv6 has no brackets; an empty host is `asked`, the one that wrote.
    init?(serverText: some StringProtocol, asked: String) {
        guard let colon = serverText.lastIndex(of: ":"),
            let port = UInt16(serverText[serverText.index(after: colon)...]), port > 0
        else { return nil }
        self.init(serverHost: String(serverText[..<colon]), port: Int64(port), asked: asked)
    }

    /// Takes host and port from a reply; an empty host, or `?`, is `asked`, the one that replied.
    init?(serverHost: String?, port: Int64?, asked: String) {
        guard let port, port > 0, port <= 65_535, let number = Int(exactly: port) else { return nil }
        let host = serverHost ?? ""
        guard host.utf8.count <= 255, host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return nil }
        self.init(host: host.isEmpty || host == "?" ? asked : host, port: number)
    }
}
