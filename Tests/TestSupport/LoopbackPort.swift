import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What a test asks of a port of 127.0.0.1 before and after it starts a server there.
public enum LoopbackPort {
    /// Whether somebody may listen there.
    public static func isFree(_ port: Int) -> Bool { with(port) { bind($0, $1, $2) == 0 } }

    /// Whether somebody listens there.
    public static func isListening(_ port: Int) -> Bool { with(port) { connect($0, $1, $2) == 0 } }

    private static func with(_ port: Int, _ body: (CInt, UnsafePointer<sockaddr>, socklen_t) -> Bool) -> Bool {
        guard let address = try? SocketAddress(ipAddress: "127.0.0.1", port: port) else { return false }
        #if canImport(Glibc)
            let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        #else
            let descriptor = socket(AF_INET, SOCK_STREAM, 0)
        #endif
        defer { close(descriptor) }
        return address.withSockAddr { body(descriptor, $0, socklen_t($1)) }
    }
}
