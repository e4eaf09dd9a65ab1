import NIOCore
import NIOPosix
import NIOSSL

extension ConnectionFault {
    /// Puts an error of the network or of TLS into words.
    static func of(_ error: any Error, at address: RedisAddress) -> ConnectionFault {
        switch error {
        case let error as IOError:
            return .network("\(address): \(sentence(ofErrno: error))")
        case let error as NIOConnectionError:
            return of(error, at: address)
        case let error as ChannelError:
            if case .connectTimeout = error { return .network("\(address) did not accept the connection in time.") }
            return .network("The connection to \(address) failed (\(error)).")
        case let error as NIOSSLError:
            if case .uncleanShutdown = error { return .network("\(address) closed the connection.") }
            return tls(error, address)
        case is NIOSSLExtraError, is BoringSSLError:
            return tls(error, address)
        case is SocketAddressError:
            return .network("The host \(address.host) was not found.")
        default:
            return .network("The connection to \(address) failed (\(error)).")
        }
    }

    private static func of(_ error: NIOConnectionError, at address: RedisAddress) -> ConnectionFault {
        if let first = error.connectionErrors.first {
            return of(first.error, at: address)
        }
        if error.dnsAError != nil || error.dnsAAAAError != nil {
            return .network("The host \(address.host) was not found.")
        }
        return .network("\(address) could not be reached.")
    }

    private static func tls(_ error: any Error, _ address: RedisAddress) -> ConnectionFault {
        .refusal(
            "TLS with \(address) failed: is it a TLS port, does its certificate name this host, and is the authority known (ca= in CLUSTER_URL)? The library said: \(error)"
        )
    }

    private static func sentence(ofErrno error: IOError) -> String {
        switch error.errnoCode {
        case ECONNREFUSED: "The connection was refused."
        case ECONNRESET, EPIPE: "The connection was reset."
        case ETIMEDOUT: "The connection timed out."
        case EHOSTUNREACH, ENETUNREACH: "There is no route to the host."
        default: "The connection failed (\(error))."
        }
    }
}
