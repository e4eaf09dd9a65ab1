import ControlPlane
import SidecarCore

extension ControlAddress {
    /// The control listener's own form of an address.
    init(_ address: ListenAddress) {
        switch address {
        case .tcp(let host, let port): self = .tcp(host: host, port: port)
        case .unix(let path): self = .unix(path: path)
        }
    }
}
