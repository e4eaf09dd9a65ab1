import NIOCore
import NIOPosix
import Synchronization

@testable import RedisClient

/// A server that answers as a test says.
final class FakeServer: Sendable {
    /// What to do with what has come.
    enum Answer: Sendable {
        case bytes(String)
        /// Each byte in a write of its own.
        case bytewise(String)
        case nothing
        case close
    }

    /// Answers to the greeting.
    static let hello = "%2\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"
    static let info = "$33\r\nrole:master\r\nmaster_replid:abcdef\r\n"

    let port: Int
    private let channel: any Channel
    private let accepted: Counter

    var connections: Int { accepted.value }
    var address: RedisAddress { RedisAddress(host: "127.0.0.1", port: port) }

    private final class Counter: Sendable {
        private let count = Atomic(0)
        var value: Int { count.load(ordering: .relaxed) }
        func increase() -> Int { count.wrappingAdd(1, ordering: .relaxed).newValue }
    }

    /// - Parameters:
    ///   - greeting: Sent as soon as somebody connects.
    ///   - answer: Called with the bytes of each read and the number of the connection, from 1.
    init(greeting: String = "", _ answer: @escaping @Sendable (String, Int) -> Answer) async throws {
        let counter = Counter()
        accepted = counter
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(greeting, counter.increase(), answer))
                }
            }
            .bind(host: "127.0.0.1", port: try FreePort.find())
            .get()
        port = channel.localAddress?.port ?? 0
    }

    func close() async { try? await channel.close().get() }

    /// Greets like Redis, then answers with the rest.
    static func greeted(
        _ answer: @escaping @Sendable (String, Int) -> Answer
    ) -> @Sendable (String, Int) -> Answer {
        { text, connection in
            if text.contains("HELLO") { return .bytes(hello) }
            if text.contains("INFO") { return .bytes(info) }
            return answer(text, connection)
        }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private let greeting: String
        private let number: Int
        private let answer: @Sendable (String, Int) -> Answer

        init(_ greeting: String, _ number: Int, _ answer: @escaping @Sendable (String, Int) -> Answer) {
            self.greeting = greeting
            self.number = number
            self.answer = answer
        }

        func channelActive(context: ChannelHandlerContext) { send(greeting, context) }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch answer(String(buffer: unwrapInboundIn(data)), number) {
            case .bytes(let text): send(text, context)
            case .bytewise(let text): for byte in text.utf8 { send(String(decoding: [byte], as: UTF8.self), context) }
            case .nothing: break
            case .close: context.close(promise: nil)
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        private func send(_ text: String, _ context: ChannelHandlerContext) {
            if !text.isEmpty { context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil) }
        }
    }
}
