/// The peers that may say who the client is; nobody else's word on it counts.
public struct TrustedProxies: Sendable, Equatable {
    /// The blocks in the order in which they were listed, keywords spelled out.
    public let networks: [IPNetwork]

    /// Whether a peer on a Unix socket is trusted.
    ///
    /// Such a peer runs on this machine, so it is trusted exactly when 127.0.0.1 or ::1 is: list `loopback`.
    public let trustsUnixSockets: Bool

    /// Nobody is trusted: every peer is the client.
    public static let none = TrustedProxies(networks: [])

    /// Trusts the peers in these blocks.
    public init(networks: [IPNetwork]) {
        self.networks = networks
        trustsUnixSockets = networks.contains { $0.contains(.loopbackV4) || $0.contains(.loopbackV6) }
    }

    /// Reads the items of a list: networks, single addresses, `loopback`, `private`; none trusts nobody.
    ///
    /// `private` is RFC 1918, shared address space (RFC 6598), link-local and unique local addresses; not loopback.
    /// Throws at the first item that is none of these.
    public init(parsing items: some Sequence<some StringProtocol>) throws(AdmissionSyntaxFault) {
        var networks: [IPNetwork] = []
        for item in items {
            guard networks.count < Self.mostNetworks else {
                throw AdmissionSyntaxFault("names more than \(Self.mostNetworks) networks")
            }
            let added: [IPNetwork]
            switch item.lowercased() {
            case "loopback": added = Self.loopback
            case "private": added = Self.privateNetworks
            default: added = [try IPNetwork(parsing: item)]
            }
            for network in added where !networks.contains(network) { networks.append(network) }
        }
        self.init(networks: networks)
    }

    /// Whether nobody is trusted.
    public var isEmpty: Bool { networks.isEmpty }

    /// Whether a peer with this address is trusted.
    public func contains(_ address: IPAddress) -> Bool {
        for network in networks where network.contains(address) { return true }
        return false
    }

    /// Whether this peer is trusted; one without address on a Unix socket by ``trustsUnixSockets``, any other not.
    public func trusts(peer: IPAddress?, isUnixSocket: Bool) -> Bool {
        if isUnixSocket { return trustsUnixSockets }
        return peer.map(contains) ?? false
    }

    /// Every address is compared with each block, so there is an end to them.
    private static let mostNetworks = 1024

    /// 127.0.0.0/8 and ::1.
    static let loopback = [
        IPNetwork(.loopbackV4, prefixLength: 8),
        IPNetwork(.loopbackV6, prefixLength: 128),
    ]

    static let privateNetworks = [
        IPNetwork(IPAddress(v4: 0x0A00_0000), prefixLength: 8),
        IPNetwork(IPAddress(v4: 0xAC10_0000), prefixLength: 12),
        IPNetwork(IPAddress(v4: 0xC0A8_0000), prefixLength: 16),
        IPNetwork(IPAddress(v4: 0xA9FE_0000), prefixLength: 16),
        IPNetwork(IPAddress(v4: 0x6440_0000), prefixLength: 10),
        IPNetwork(IPAddress(high: 0xFC00 << 48, low: 0), prefixLength: 7),
        IPNetwork(IPAddress(high: 0xFE80 << 48, low: 0), prefixLength: 10),
    ]
}
