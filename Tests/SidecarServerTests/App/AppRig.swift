import HTTP1
import Logging
import NIOCore
import NIOEmbedded
import SidecarCore

@testable import SidecarServer

/// The connections to one address of the app, at the other end of which is the test.
final class AppRig {
    let loop = EmbeddedEventLoop()
    let timers: ShardTimers
    let gate = FakeGate()
    let pool: AppPool
    let webhooks: WebhookContext
    private let flushes: FlushQueue
    private let limits: HTTPLimits
    private var channels: [EmbeddedChannel] = []

    /// - Parameters:
    ///   - environment: Settings, without their prefix.
    ///   - limits: Those of a reply's head.
    init(_ environment: [String: String] = [:], limits: HTTPLimits? = nil) throws {
        // Connections read the clock of the machine, so the time of the loop begins there.
        loop.advanceTime(to: .now())
        let configuration = try TestSettings.configuration(environment)
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        self.limits = limits ?? configuration.replyLimits
        timers = ShardTimers(eventLoop: loop)
        flushes = FlushQueue(eventLoop: loop)
        pool = AppPool(
            origin: .tcp(host: "127.0.0.1", port: 9, tls: false),
            eventLoop: loop,
            timers: timers,
            flushes: flushes,
            configuration: configuration,
            // Without descriptors no connection is made but those of ``connect()``.
            state: ServerState(
                settings: configuration.settings,
                maxConnections: 100,
                maxDescriptors: -1_000,
                logger: logger,
                outbox: nil,
                authenticator: nil
            )
        )
        webhooks = WebhookContext(
            eventLoop: loop,
            timers: timers,
            gate: gate,
            app: FakeApp(),
            logger: logger,
            configuration: configuration
        )
    }

    deinit {
        for channel in channels { channel.close(promise: nil) }
        loop.run()
    }

    /// A connection that nobody uses yet.
    ///
    /// - Parameter handlers: Handlers between it and the app.
    func connect(_ handlers: [any ChannelHandler] = []) throws -> (channel: EmbeddedChannel, connection: AppConnection)
    {
        let connection = AppConnection(
            pool: pool,
            timers: timers,
            output: SocketOutput(queue: flushes),
            isEncrypted: false,
            limits: limits
        )
        let channel = EmbeddedChannel(handlers: handlers + [connection], loop: loop)
        channels.append(channel)
        channel.connect(to: try SocketAddress(unixDomainSocketPath: "/nobody"), promise: nil)
        return (channel, connection)
    }

    /// A connection that waits in the pool.
    func idle() throws -> EmbeddedChannel {
        let (channel, connection) = try connect()
        pool.release(connection, at: loop.now)
        return channel
    }

    /// What the app has got since the last call.
    func received(_ channel: EmbeddedChannel) throws -> String {
        loop.run()
        var text = ""
        while let bytes = try channel.readOutbound(as: ByteBuffer.self) { text += String(buffer: bytes) }
        return text
    }

    func reply(_ channel: EmbeddedChannel, _ text: String) throws {
        loop.run()
        try channel.writeInbound(ByteBuffer(string: text))
    }

    /// Time passes, of the loop and by the clock of the machine.
    func passes(_ time: TimeAmount) { loop.advanceTime(to: max(loop.now, .now()) + time) }
}

/// A request that records what comes of it.
final class FakeExchange: AppExchange {
    private let text: String
    private let deadline: NIODeadline
    let takesWholeReplies: Bool
    var isCancelled = false
    /// Called with each part of a reply.
    var onPart: ((FakeExchange) -> Void)?

    private(set) var connection: AppConnection?
    /// What it was told, in order; parts of a body are in ``body``.
    private(set) var notes: [String] = []
    private(set) var body = ""

    init(_ rig: AppRig, _ text: String = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", takesWholeReplies: Bool = false) {
        self.text = text
        deadline = rig.loop.now + .seconds(10)
        self.takesWholeReplies = takesWholeReplies
    }

    /// The reply as one line.
    var reply: String { (notes + [body]).joined(separator: " ") }

    func appReady(_ connection: AppConnection) {
        self.connection = connection
        connection.expectReply(to: .other, by: deadline)
        connection.sendWhole(ByteBuffer(string: text))
    }

    func appReplied(_ part: HTTPReplyPart) {
        switch part {
        case .informational(let head): notes.append("interim \(head.status)")
        case .head(let head): notes.append("head \(head.status)")
        case .body(let bytes): body += String(buffer: bytes)
        case .end: notes.append("end")
        }
        onPart?(self)
    }

    func appReplied(_ head: HTTPReplyHead, _ body: ByteBuffer) {
        notes += ["head \(head.status)", "end"]
        self.body += String(buffer: body)
    }

    func appFailed(_ failure: DeliveryFailure, wasStale: Bool) {
        notes.append("failed \(failure.outcome.rawValue)\(wasStale ? ", stale" : "")")
    }

    func appWritabilityChanged(isWritable: Bool) { notes.append(isWritable ? "writable" : "full") }
    func appReadComplete() {}
}
