import ControlPlane
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle

/// Runs a control listener on a free loopback port for the time of `body`, then shuts it down gracefully.
func withControlPlane(
    _ makePlane: (@escaping @Sendable (ControlAddress) -> Void) -> ControlPlane,
    body: (ControlClient) async throws -> Void
) async throws {
    let (addresses, running) = AsyncStream.makeStream(of: ControlAddress.self)
    let plane = makePlane { running.yield($0) }
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    let group = ServiceGroup(configuration: .init(services: [.init(service: plane)], logger: logger))
    try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask {
            // Ends the wait for the port as well when the listener fails.
            defer { running.finish() }
            try await group.run()
        }
        for await case .tcp(_, let port) in addresses {
            try await body(ControlClient(port: port))
            break
        }
        await group.triggerGracefulShutdown()
        try await tasks.waitForAll()
    }
}

/// A client that sends bytes as they are, and gives back all that comes until the server closes.
struct ControlClient: Sendable {
    let port: Int

    /// Connects and sends; the text comes when the server closes.
    ///
    /// - Parameter whole: false sends byte by byte, each in a segment of its own.
    func exchange(_ bytes: [UInt8], whole: Bool = true) async throws -> String {
        let answer = MultiThreadedEventLoopGroup.singleton.any().makePromise(of: String.self)
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AnswerCollector(answer))
                }
            }
            .connect(host: "127.0.0.1", port: self.port)
            .get()
        if whole {
            // The server may close before it has read all; what it answered still counts.
            try? await channel.writeAndFlush(ByteBuffer(bytes: bytes))
        } else {
            for byte in bytes {
                try await channel.writeAndFlush(ByteBuffer(bytes: [byte]))
            }
        }
        return try await answer.futureResult.get()
    }

    /// One request on a connection of its own.
    func request(_ method: String, _ target: String, headers: String = "") async throws -> String {
        try await self.exchange(
            Array("\(method) \(target) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\(headers)\r\n".utf8)
        )
    }
}

private final class AnswerCollector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let answer: EventLoopPromise<String>
    private var received = ByteBuffer()

    init(_ answer: EventLoopPromise<String>) {
        self.answer = answer
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = self.unwrapInboundIn(data)
        self.received.writeBuffer(&buffer)
    }

    /// Also reached by a connection that never became active.
    func handlerRemoved(context: ChannelHandlerContext) {
        self.answer.succeed(String(buffer: self.received))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A reset after the answer is the server's way of not reading the rest.
        context.close(promise: nil)
    }
}
