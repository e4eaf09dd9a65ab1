import NIOCore
public import NIOSSL
public import SidecarCore
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A file of the settings that cannot be used.
public struct FileFault: Error, Sendable, CustomStringConvertible {
    /// The variable without prefix.
    public let variable: String
    /// What it says.
    public let path: String
    /// Why not.
    public let reason: String
    /// What would do.
    public let accepted: String

    /// As a line for people.
    public var description: String {
        "SIDESOCKET_\(variable)=\"\(path)\": cannot be used: \(reason). Accepted: \(accepted)"
    }
}

/// TLS for the control listener, whose pair can be replaced while it serves.
public final class ControlTLS: Sendable {
    private let pair: Mutex<TLSConfiguration>

    /// Reads the pair; nil without `CONTROL_TLS_CERT`.
    ///
    /// - Throws: What is wrong with it.
    public init?(_ settings: Settings) throws(FileFault) {
        guard let pair = try ServerTLS.controlPair(settings) else { return nil }
        self.pair = Mutex(pair)
    }

    /// Reads the pair again; the old one holds if it cannot be used.
    public func reload(_ settings: Settings) throws(FileFault) {
        guard let new = try ServerTLS.controlPair(settings) else { return }
        pair.withLock { $0 = new }
    }

    /// What the listener speaks: each handshake uses the newest pair.
    public var configuration: TLSConfiguration {
        var tls = pair.withLock { $0 }
        tls.sslContextCallback = { [self] _, promise in
            let newest = pair.withLock { $0 }
            var override = NIOSSLContextConfigurationOverride()
            override.certificateChain = newest.certificateChain
            override.privateKey = newest.privateKey
            promise.succeed(override)
        }
        return tls
    }
}

/// TLS for those who connect to us.
public enum ServerTLS {
    /// What the public addresses speak; nil without `TLS_CERT`.
    static func context(_ settings: Settings) throws(FileFault) -> NIOSSLContext? {
        guard let certificate = settings.tlsCertificate, let key = settings.tlsKey else { return nil }
        var tls = try configuration(certificate: certificate, key: key, variables: ("TLS_CERT", "TLS_KEY"))
        if let authorities = settings.tlsClientCA {
            try makeSureOfFile("TLS_CLIENT_CA", authorities)
            do {
                tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(authorities))
            } catch {
                throw FileFault(
                    variable: "TLS_CLIENT_CA",
                    path: authorities,
                    reason: PlainError.unreadable(authorities) ?? "it holds no certificate",
                    accepted: "a PEM file with certificates"
                )
            }
            // Of the chain, not of a host name: clients have none.
            tls.certificateVerification = .noHostnameVerification
        }
        return try make(tls, certificate, variable: "TLS_CERT")
    }

    /// The pair of the control addresses; nil without `CONTROL_TLS_CERT`.
    static func controlPair(_ settings: Settings) throws(FileFault) -> TLSConfiguration? {
        guard let certificate = settings.controlTLSCertificate, let key = settings.controlTLSKey else { return nil }
        let names = (certificate: "CONTROL_TLS_CERT", key: "CONTROL_TLS_KEY")
        let tls = try configuration(certificate: certificate, key: key, variables: names)
        _ = try make(tls, certificate, variable: names.certificate)
        return tls
    }

    private static func configuration(
        certificate: String,
        key: String,
        variables: (certificate: String, key: String)
    ) throws(FileFault) -> TLSConfiguration {
        for (variable, path) in [(variables.certificate, certificate), (variables.key, key)] {
            try makeSureOfFile(variable, path)
        }
        let chain: [NIOSSLCertificate]
        do {
            chain = try NIOSSLCertificate.fromPEMFile(certificate)
        } catch {
            throw FileFault(
                variable: variables.certificate,
                path: certificate,
                reason: PlainError.unreadable(certificate) ?? "it holds no certificate",
                accepted: "a PEM file with a certificate chain"
            )
        }
        let privateKey: NIOSSLPrivateKey
        do {
            privateKey = try NIOSSLPrivateKey(file: key, format: .pem)
        } catch {
            throw FileFault(
                variable: variables.key,
                path: key,
                reason: PlainError.unreadable(key) ?? "it holds no private key that can be read without a password",
                accepted: "a PEM file with the private key of the certificate, without a password"
            )
        }
        var tls = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) },
            privateKey: .privateKey(privateKey)
        )
        tls.minimumTLSVersion = .tlsv12
        tls.applicationProtocols = ["http/1.1"]
        tls.shutdownTimeout = ServerConfiguration.linger
        return tls
    }

    /// Reading a pipe would wait for somebody to write into it.
    private static func makeSureOfFile(_ variable: String, _ path: String) throws(FileFault) {
        var facts = stat()
        guard stat(path, &facts) == 0, facts.st_mode & S_IFMT != S_IFREG else { return }
        throw FileFault(variable: variable, path: path, reason: "it is not a regular file", accepted: "a PEM file")
    }

    private static func make(
        _ tls: TLSConfiguration,
        _ certificate: String,
        variable: String
    ) throws(FileFault) -> NIOSSLContext {
        do {
            return try NIOSSLContext(configuration: tls)
        } catch {
            throw FileFault(
                variable: variable,
                path: certificate,
                reason: "the certificate and the private key do not belong together",
                accepted: "a certificate and the private key that belongs to it"
            )
        }
    }
}
