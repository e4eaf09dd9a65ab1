public import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Errors of the system in words, without the functions that met them.
public enum SystemErrorText {
    /// What the system calls an error: `address already in use`.
    public static func text(of number: Int32) -> String {
        guard let text = strerror(number) else { return "error \(number)" }
        let words = String(cString: text)
        return words.prefix(1).lowercased() + words.dropFirst()
    }

    /// An error of a listener or a connection.
    public static func sentence(for error: any Error) -> String {
        switch error {
        case let error as IOError: text(of: error.errnoCode)
        case ChannelError.connectTimeout: "it took too long"
        case let error as SocketAddressError.UnknownHost: "\(error.host) has no address"
        case is UnixDomainSocketPathWrongType: "a file that is not a socket is there"
        case is CancellationError: "it was stopped"
        default: "\(error)"
        }
    }
}

extension SocketAddress {
    /// As people and settings write it: `127.0.0.1:8080`, `[::1]:8080`, `unix:/path`.
    public var written: String {
        guard let host = ipAddress, let port else { return pathname.map { "unix:\($0)" } ?? "?" }
        return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}
