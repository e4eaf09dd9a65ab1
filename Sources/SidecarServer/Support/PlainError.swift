import ListenerSupport
import NIOCore
import NIOPosix
import NIOSSL

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Error messages for people, without the names of frameworks and their functions.
enum PlainError {
    /// An error of a socket or of a name.
    static func sentence(for error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError:
            if let first = error.connectionErrors.first { return sentence(for: first.error) }
            return "\(error.host) has no address"
        case let error as NIOSSLError: return tls(error)
        case let error as NIOSSLExtraError: return tls(error)
        default: return SystemErrorText.sentence(for: error)
        }
    }

    /// Why the TLS handshake failed; taken from the middle of BoringSSL's text.
    private static func tls(_ error: any Error) -> String {
        let text = "\(error)"
        if let extra = error as? NIOSSLExtraError, extra == .failedToValidateHostname {
            return "the certificate is for another host"
        }
        guard let mark = text.firstRange(of: "OPENSSL_internal:") else { return "TLS failed" }
        let word = text[mark.upperBound...].prefix { $0.isASCII && ($0.isUppercase || $0.isNumber || $0 == "_") }
        return word.isEmpty ? "TLS failed" : word.split(separator: "_").joined(separator: " ").lowercased()
    }
}
