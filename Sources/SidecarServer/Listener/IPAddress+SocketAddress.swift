import NIOCore
import SidecarCore

extension IPAddress {
    /// The address of a peer; nil for one on a Unix socket.
    init?(_ address: SocketAddress) {
        // Where `sockaddr_in` and `sockaddr_in6` have it, on Linux and BSD alike.
        let place: Range<Int>
        switch address {
        case .v4: place = 4..<8
        case .v6: place = 8..<24
        case .unixDomainSocket: return nil
        }
        let read = address.withSockAddr { start, count -> IPAddress? in
            let bytes = UnsafeRawBufferPointer(start: start, count: count)
            return place.upperBound <= count ? IPAddress(networkOrder: .init(rebasing: bytes[place])) : nil
        }
        guard let read else { return nil }
        self = read
    }
}
