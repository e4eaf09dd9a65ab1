import HTTP1
import Logging
import SidecarCore
import Synchronization

/// Who sent a request, according to the trusted proxies.
final class ClientResolver: Sendable {
    /// The networks for which a warning was logged; limited, so that they can fill neither the log nor the memory.
    private static let maxWarnings = 256

    private let trusted: TrustedProxies
    private let resolver: ClientAddressResolver
    private let ipv6Prefix: Int
    private let logger: Logger
    private let warned = Mutex<Set<RateLimitKey>>([])

    init(trusted: TrustedProxies, header: ClientIPHeader, ipv6Prefix: Int, logger: Logger) {
        self.trusted = trusted
        self.ipv6Prefix = ipv6Prefix
        self.logger = logger
        resolver = ClientAddressResolver(trusted: trusted, header: header)
    }

    /// True when this peer may say who the client is.
    func trusts(peer: IPAddress?, isUnixSocket: Bool) -> Bool {
        trusted.trusts(peer: peer, isUnixSocket: isUnixSocket)
    }

    /// Finds out who sent a request.
    ///
    /// - Parameter isNamedByProxy: The peer is what a PROXY header of a trusted proxy said. So it is a client, not a
    ///   proxy missing from `TRUSTED_PROXIES`.
    func resolve(
        peer: IPAddress?,
        isUnixSocket: Bool,
        isNamedByProxy: Bool,
        scheme: ClientScheme,
        headers: HTTPHeaders
    ) -> ResolvedClient {
        let client = resolver.resolve(
            peer: peer,
            peerIsUnixSocket: isUnixSocket,
            connectionScheme: scheme,
            headers: headers
        )
        if client.untrustedForwardingHeaderSeen, !isNamedByProxy { warnOnce(about: client) }
        return client
    }

    private func warnOnce(about client: ResolvedClient) {
        let network = client.rateLimitKey(ipv6PrefixLength: ipv6Prefix)
        let isNew = warned.withLock { $0.count < Self.maxWarnings && $0.insert(network).inserted }
        guard isNew else { return }
        logger.warning(
            "an untrusted peer sends forwarding headers; all clients behind it count as one address",
            metadata: [
                "peer": "\(client.address)",
                "remedy":
                    "if it is your load balancer, set SIDESOCKET_TRUSTED_PROXIES=\(client.ip == nil ? "loopback" : client.address)",
            ]
        )
    }
}
