import HTTP1
import Logging
import NIOCore
import SidecarCore
import Testing

@testable import SidecarServer

/// What tests of the admission hand to it.
enum Samples {
    static let second: Int64 = 1_000_000_000

    static func settings() -> Settings { Settings(app: .tcp(host: "127.0.0.1", port: 3000, tls: false)) }

    static func enforcement(
        dryRun: Set<DryRunLimit> = [],
        _ settings: Settings = settings(),
        log: RecordedLog = RecordedLog()
    ) -> LimitEnforcement {
        LimitEnforcement(
            dryRun: dryRun,
            metrics: ServerMetrics(),
            refusals: RefusalLog(settings: settings, logger: log.logger)
        )
    }

    static func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

    /// A client that no proxy speaks for.
    static func client(_ address: String) throws -> ResolvedClient {
        ClientAddressResolver(trusted: .none, header: .xForwardedFor)
            .resolve(peer: try Self.address(address), peerIsUnixSocket: false, headers: HTTPHeaders())
    }

    static func head(_ lines: String...) throws -> HTTPRequestHead {
        var reader = HTTPRequestReader(limits: HTTPLimits())
        var buffer = ByteBuffer(string: lines.map { $0 + "\r\n" }.joined() + "\r\n")
        reader.append(&buffer)
        guard case .head(let head)? = try reader.next() else { throw NoHead() }
        return head
    }

    struct NoHead: Error {}
}
