internal import ListenerSupport

/// Where the control listener listens.
public enum ControlAddress: Sendable, Equatable, CustomStringConvertible {
    /// A TCP address; IPv6 hosts without brackets, port 0 for any free one.
    case tcp(host: String, port: Int)
    /// A Unix domain socket; a socket that is left at this path is replaced.
    case unix(path: String)

    /// True for an address that only this machine reaches.
    var isLoopback: Bool {
        switch self {
        case .unix: true
        case .tcp(let host, _): host == "localhost" || host == "::1" || host.hasPrefix("127.")
        }
    }

    /// The address as settings write it: `127.0.0.1:9090`, `[::1]:9090`, `unix:/path`.
    public var description: String {
        switch self {
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }
}

/// A control address that could not be served.
struct ControlListenError: Error, CustomStringConvertible {
    let address: ControlAddress
    let cause: any Error

    var description: String {
        "cannot listen on \(self.address) (SIDESOCKET_CONTROL_LISTEN): \(SystemErrorText.sentence(for: self.cause))"
    }
}
