import NIOCore
import SidecarCore

/// The peer of a client's connection, from the connection alone.
struct ClientPeer {
    /// Nil for a Unix socket.
    let address: IPAddress?
    let isUnixSocket: Bool
    /// The address comes from a PROXY header of a trusted proxy, so it is a client's, not that of an untrusted proxy.
    let isNamedByProxy: Bool

    init(_ address: SocketAddress?) {
        self.address = address.flatMap { IPAddress($0) }
        isUnixSocket = address != nil && self.address == nil
        isNamedByProxy = false
    }

    init(namedByProxy address: IPAddress) {
        self.address = address
        isUnixSocket = false
        isNamedByProxy = true
    }

    /// The client's identity before a request is known.
    func identity(_ scheme: ClientScheme) -> ClientIdentity {
        ClientIdentity(
            address: address.map { "\($0)" } ?? (isUnixSocket ? "unix:" : "unknown"),
            scheme: scheme.rawValue
        )
    }
}
