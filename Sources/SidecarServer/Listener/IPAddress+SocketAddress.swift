import NIOCore
import SidecarCore

extension IPAddress {
    /// The address of a peer; nil for one on a Unix socket.
    init?(_ address: SocketAddress) {
        // The bytes of the address in `sockaddr_in` and `sockaddr_in6`, on Linux and BSD alike.
        let range: Range<Int>
        switch address {
        case .v4: range = 4..<8
        case .v6: range = 8..<24
        case .unixDomainSocket: return nil
        }
        let read = address.withSockAddr { start, count -> IPAddress? in
            let bytes = UnsafeRawBufferPointer(start: start, count: count)
            return range.upperBound <= count ? IPAddress(networkOrder: .init(rebasing: bytes[range])) : nil
        }
        guard let read else { return nil }
        self = read
    }
}
