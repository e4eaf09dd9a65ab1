import ListenerSupport
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import SidecarCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

extension EdgeService {
    /// Binds the public addresses.
    func bind(
        _ settings: Settings,
        on group: MultiThreadedEventLoopGroup,
        shards: ShardDirectory
    ) async throws -> [any Channel] {
        let highWater = min(64 << 10, settings.maxSendBufferBytes)
        let pace = AcceptPace(
            perMillisecond: ServerConfiguration.acceptsPerMillisecond * Double(settings.threads ?? System.coreCount),
            burst: ServerConfiguration.acceptBurst,
            batch: ServerConfiguration.acceptBatch
        )
        // Accepted sockets inherit TCP_NODELAY, which NIO sets on every listening socket.
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 4096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { [logger, state, pace] channel in
                channel.eventLoop.makeCompletedFuture {
                    // Without it the accept loop spins when file descriptors run out.
                    try channel.pipeline.syncOperations.addHandler(
                        AcceptErrorHandler(
                            listener: "public",
                            pause: .milliseconds(100),
                            logger: logger,
                            mayAccept: { state.hasRoomForClients },
                            pace: pace,
                            didAccept: { state.descriptors.adjust(by: 1) }
                        )
                    )
                }
            }
            // Few at a time, so that they are counted before more are accepted.
            .serverChannelOption(.maxMessagesPerRead, value: 8)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    // Set here, since options of the bootstrap cost a future each.
                    if let options = channel.syncOptions { try TransportLimits.setForRequests(on: options, highWater) }
                    if let shard = shards.shard(of: channel.eventLoop) { try Self.buildPipeline(of: channel, shard) }
                }
            }
        var listeners: [any Channel] = []
        for address in settings.listen {
            do {
                switch address {
                case .tcp(let host, let port):
                    listeners.append(try await bootstrap.bind(host: host, port: port).get())
                case .unix(let path):
                    try await makeSure(nobodyListensOn: path, group)
                    listeners.append(
                        try await bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
                    )
                }
            } catch {
                throw ListenError(address: address, cause: error)
            }
        }
        return listeners
    }

    /// Top to bottom: the PROXY header that names the client, TLS, and the one handler that reads requests.
    private static func buildPipeline(of channel: any Channel, _ shard: LoopShard) throws {
        let pipeline = channel.pipeline.syncOperations
        let edge = EdgeHTTPHandler(loop: shard.clients)
        if let mode = shard.configuration.settings.proxyProtocol {
            try pipeline.addHandler(ProxyHeaderHandler(mode: mode, loop: shard.clients))
        }
        if let tls = shard.configuration.serverTLS, channel.localAddress?.ipAddress != nil {
            try pipeline.addHandler(NIOSSLServerHandler(context: tls))
            edge.isEncrypted = true
        }
        try pipeline.addHandler(edge)
    }

    /// Takes over a socket file that a crash left behind, unless a process answers on it.
    private func makeSure(nobodyListensOn path: String, _ group: MultiThreadedEventLoopGroup) async throws {
        guard let probe = try? await ClientBootstrap(group: group).connect(unixDomainSocketPath: path).get() else {
            return
        }
        try? await probe.close().get()
        throw IOError(errnoCode: EADDRINUSE, reason: "another process is listening there")
    }
}

/// An address that could not be bound.
struct ListenError: Error, CustomStringConvertible {
    let address: ListenAddress
    let cause: any Error

    var description: String { "cannot listen on \(address) (SIDESOCKET_LISTEN): \(PlainError.sentence(for: cause))" }
}
