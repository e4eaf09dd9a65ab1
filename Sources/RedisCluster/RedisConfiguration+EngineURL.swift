public import NIOCore
import NIOSSL
public import RedisClient
public import SidecarCore

/// What keeps an engine's URL from being used.
public struct EngineURLFault: Error, CustomStringConvertible {
    /// For people, without the URL's secrets.
    public let description: String
}

extension RedisConfiguration {
    /// What `CLUSTER_URL` says.
    ///
    /// - Parameters:
    ///   - variable: The variable without prefix, for messages.
    ///   - timeout: The longest that a command may take.
    /// - Throws: An ``EngineURLFault`` when a file of the URL cannot be used.
    public init(
        _ url: EngineURL,
        variable: String = "CLUSTER_URL",
        timeout: TimeAmount
    ) throws(EngineURLFault) {
        let addresses = url.hosts.map { RedisAddress(host: $0.host, port: $0.port) }
        let topology: Topology
        switch url.topology {
        case .standalone:
            guard let address = addresses.first else {
                throw EngineURLFault(description: "SIDESOCKET_\(variable) names no host")
            }
            topology = .standalone(address)
        case .sentinel(let service): topology = .sentinel(addresses, service: service)
        case .cluster: topology = .cluster(addresses)
        }
        self.init(topology: topology)
        username = url.user
        password = url.password
        database = url.database
        commandTimeout = timeout
        clientName = "sidesocket"
        if url.isEncrypted { tls = try Self.tls(url, variable) }
    }

    private static func tls(_ url: EngineURL, _ variable: String) throws(EngineURLFault) -> NIOSSLContext {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv12
        do {
            if let file = url.caFile { tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(file)) }
            if let file = url.certificateFile, let key = url.keyFile {
                tls.certificateChain = try NIOSSLCertificate.fromPEMFile(file).map { .certificate($0) }
                tls.privateKey = .privateKey(try NIOSSLPrivateKey(file: key, format: .pem))
            }
            return try NIOSSLContext(configuration: tls)
        } catch {
            let files = [url.caFile, url.certificateFile, url.keyFile].compactMap(\.self).joined(separator: ", ")
            throw EngineURLFault(
                description:
                    "SIDESOCKET_\(variable): a file of TLS cannot be used (\(files)). Accepted: PEM files with "
                    + "certificates in ca and cert, and the key to cert in key"
            )
        }
    }
}
