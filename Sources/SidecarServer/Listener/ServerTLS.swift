import NIOCore
import NIOSSL
import SidecarCore

/// TLS for the listeners, and the files that it needs.
enum ServerTLS {
    /// The variables of a certificate and its key.
    private struct Names {
        let certificate: String
        let key: String

        static let edge = Names(certificate: "TLS_CERT", key: "TLS_KEY")
        static let control = Names(certificate: "CONTROL_TLS_CERT", key: "CONTROL_TLS_KEY")
    }

    /// The context of the public addresses; nil without `TLS_CERT`.
    static func context(_ settings: Settings) throws(FileFault) -> NIOSSLContext? {
        guard let certificate = settings.tlsCertificate, let key = settings.tlsKey else { return nil }
        var tls = configuration(try chain(.edge, certificate), try privateKey(.edge, key))
        if let authorities = settings.tlsClientCA {
            tls.trustRoots = .certificates(try Self.authorities("TLS_CLIENT_CA", authorities))
            // Verifies the chain but no host name, since clients have none.
            tls.certificateVerification = .noHostnameVerification
        }
        return try make(tls, .edge, certificate)
    }

    /// The configuration of the control addresses; nil without `CONTROL_TLS_CERT`.
    static func controlPair(_ settings: Settings) throws(FileFault) -> TLSConfiguration? {
        guard let certificate = settings.controlTLSCertificate, let key = settings.controlTLSKey else { return nil }
        let tls = configuration(try chain(.control, certificate), try privateKey(.control, key))
        _ = try make(tls, .control, certificate)
        return tls
    }

    /// All faults in the files of all listeners, and of the authorities for the app's certificate.
    static func faults(of settings: Settings) -> [FileFault] {
        var faults: [FileFault] = []
        func attempt<Value>(_ body: () throws(FileFault) -> Value) -> Value? {
            do throws(FileFault) {
                return try body()
            } catch {
                faults.append(error)
                return nil
            }
        }
        func look(at names: Names, _ certificate: String?, _ keyFile: String?) {
            guard let certificate, let keyFile else { return }
            let chain = attempt { () throws(FileFault) in try Self.chain(names, certificate) }
            let key = attempt { () throws(FileFault) in try Self.privateKey(names, keyFile) }
            guard let chain, let key else { return }
            _ = attempt { () throws(FileFault) in try make(configuration(chain, key), names, certificate) }
        }
        look(at: .edge, settings.tlsCertificate, settings.tlsKey)
        if let path = settings.tlsClientCA {
            _ = attempt { () throws(FileFault) in try authorities("TLS_CLIENT_CA", path) }
        }
        look(at: .control, settings.controlTLSCertificate, settings.controlTLSKey)
        if settings.callsOverTLS, let path = settings.appCAFile {
            _ = attempt { () throws(FileFault) in try authorities("APP_CA_FILE", path) }
        }
        return faults
    }

    private static func configuration(
        _ chain: [NIOSSLCertificate],
        _ privateKey: NIOSSLPrivateKey
    ) -> TLSConfiguration {
        var tls = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) },
            privateKey: .privateKey(privateKey)
        )
        tls.minimumTLSVersion = .tlsv12
        tls.applicationProtocols = ["http/1.1"]
        tls.shutdownTimeout = ServerConfiguration.linger
        return tls
    }

    private static func chain(_ names: Names, _ path: String) throws(FileFault) -> [NIOSSLCertificate] {
        try certificates(names.certificate, path, accepted: "a PEM file with a certificate chain")
    }

    /// The certificates of the authorities in a file.
    static func authorities(_ variable: String, _ path: String) throws(FileFault) -> [NIOSSLCertificate] {
        try certificates(variable, path, accepted: "a PEM file with certificates")
    }

    private static func certificates(
        _ variable: String,
        _ path: String,
        accepted: String
    ) throws(FileFault) -> [NIOSSLCertificate] {
        func unusable(_ reason: String) -> FileFault {
            FileFault(variable: variable, path: path, reason: reason, accepted: accepted)
        }
        if let problem = SettingsFiles.problem(ofFileToRead: path) { throw unusable(problem) }
        guard let found = try? NIOSSLCertificate.fromPEMFile(path), !found.isEmpty else {
            throw unusable("it holds no certificate in PEM form, or one that is damaged")
        }
        return found
    }

    private static func privateKey(_ names: Names, _ path: String) throws(FileFault) -> NIOSSLPrivateKey {
        func unusable(_ reason: String) -> FileFault {
            FileFault(
                variable: names.key,
                path: path,
                reason: reason,
                accepted: "a PEM file with the private key of the certificate, without a password"
            )
        }
        if let problem = SettingsFiles.problem(ofFileToRead: path) { throw unusable(problem) }
        guard let key = try? NIOSSLPrivateKey(file: path, format: .pem) else {
            throw unusable("it holds no private key in PEM form, or one with a password")
        }
        return key
    }

    private static func make(
        _ tls: TLSConfiguration,
        _ names: Names,
        _ certificate: String
    ) throws(FileFault) -> NIOSSLContext {
        guard let context = try? NIOSSLContext(configuration: tls) else {
            throw FileFault(
                variable: names.certificate,
                path: certificate,
                reason: "it does not match the private key in SIDESOCKET_\(names.key)",
                accepted: "a certificate and the private key that belongs to it"
            )
        }
        return context
    }
}
