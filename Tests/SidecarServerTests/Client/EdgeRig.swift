import HTTP1
import Logging
import NIOCore
import NIOEmbedded
import SidecarCore
import Testing

@testable import SidecarServer

/// A client and the app at the ends of two channels in memory, and all that lies between them.
final class EdgeRig {
    let loop = EmbeddedEventLoop()
    let shard: LoopShard
    let client: EmbeddedChannel
    let app: EmbeddedChannel
    let handler: EdgeHTTPHandler

    /// - Parameters:
    ///   - environment: Settings, without their prefix.
    ///   - makeBroker: Makes the broker of channels; nil for the one in memory.
    init(_ environment: [String: String] = [:], makeBroker: ChannelFanout.MakeBroker? = nil) throws {
        // Handlers read the clock of the machine, so the time of the loop begins there.
        loop.advanceTime(to: .now())
        let configuration = try TestSettings.configuration(environment)
        shard = Self.makeShard(on: loop, configuration, makeBroker: makeBroker)
        let pool = try #require(shard.app.forRequest())
        let connection = AppConnection(
            pool: pool,
            timers: shard.timers,
            output: SocketOutput(queue: shard.flushes),
            isEncrypted: false,
            limits: configuration.replyLimits
        )
        let address = try SocketAddress(unixDomainSocketPath: "/nobody")
        app = EmbeddedChannel(handler: connection, loop: loop)
        app.connect(to: address, promise: nil)
        pool.release(connection, at: .now())
        handler = EdgeHTTPHandler(loop: shard.clients)
        client = EmbeddedChannel(handler: handler, loop: loop)
        client.connect(to: address, promise: nil)
    }

    /// All that belongs to an event loop.
    static func makeShard(
        on loop: any EventLoop,
        _ configuration: ServerConfiguration,
        makeBroker: ChannelFanout.MakeBroker? = nil
    ) -> LoopShard {
        let settings = configuration.settings
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let metrics = ServerMetrics()
        // Without descriptors no connection to the app is made but the one that is there.
        let state = ServerState(
            settings: settings,
            maxConnections: 100,
            maxDescriptors: -1_000,
            logger: logger,
            outbox: nil,
            authenticator: nil,
            makeBroker: makeBroker
        )
        return LoopShard(
            eventLoop: loop,
            configuration: configuration,
            state: state,
            metrics: metrics,
            admission: AdmissionGuard(
                settings: settings,
                metrics: metrics,
                logger: logger,
                authenticator: nil,
                onAutoBan: { _, _ in }
            ),
            logger: logger
        )
    }

    deinit {
        client.close(promise: nil)
        app.close(promise: nil)
        loop.run()
    }

    /// Time passes, of the loop and by the clock of the machine.
    func passes(_ time: TimeAmount) { loop.advanceTime(to: max(loop.now, .now()) + time) }

    func clientSends(_ text: String) throws {
        try client.writeInbound(ByteBuffer(string: text))
        loop.run()
    }

    func appSends(_ text: String) throws {
        try app.writeInbound(ByteBuffer(string: text))
        loop.run()
    }

    /// What has come at the client since the last call.
    func clientReceived() throws -> String { try received(by: client) }

    /// What has come at the app since the last call.
    func appReceived() throws -> String { try received(by: app) }

    private func received(by channel: EmbeddedChannel) throws -> String {
        loop.run()
        var text = ""
        while let bytes = try channel.readOutbound(as: ByteBuffer.self) { text += String(buffer: bytes) }
        return text
    }
}
