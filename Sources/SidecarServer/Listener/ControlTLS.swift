import NIOCore
public import NIOSSL
public import SidecarCore
import Synchronization

/// TLS for the control listener; its certificate can be replaced while it serves.
public final class ControlTLS: Sendable {
    private let pair: Mutex<TLSConfiguration>

    /// Reads the pair; nil without `CONTROL_TLS_CERT`.
    ///
    /// - Throws: What is wrong with it.
    public init?(_ settings: Settings) throws(FileFault) {
        guard let pair = try ServerTLS.controlPair(settings) else { return nil }
        self.pair = Mutex(pair)
    }

    /// Reads the pair again; the caller uses it once everything else has been read too.
    ///
    /// - Throws: What is wrong with it; the old pair stays in use.
    public func reading(_ settings: Settings) throws(FileFault) -> TLSConfiguration? {
        try ServerTLS.controlPair(settings)
    }

    /// Replaces the pair.
    public func use(_ new: TLSConfiguration) { pair.withLock { $0 = new } }

    /// The listener's configuration; each handshake uses the newest pair.
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
