import NIOCore
import SidecarCore

/// The other end of a client's connection, as far as the connection itself tells.
struct ClientPeer {
    /// Nil for a Unix socket.
    let address: IPAddress?
    let isUnixSocket: Bool
    /// A PROXY header of a trusted proxy has said so: it is a client then, and no proxy that somebody forgot to trust.
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

    /// Who the client is, until a request says more.
    func identity(_ scheme: ClientScheme) -> ClientIdentity {
        ClientIdentity(
            address: address.map { "\($0)" } ?? (isUnixSocket ? "unix:" : "unknown"),
            scheme: scheme.rawValue
        )
    }
}
