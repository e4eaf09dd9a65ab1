import NIOCore
import SidecarCore
import WebSocketProtocol

/// What an event loop hands to the handlers of its clients.
final class ClientContext {
    let eventLoop: any EventLoop
    let timers: ShardTimers
    let flushes: FlushQueue
    let sendBuffers: SendBuffers
    let metrics: ServerMetrics
    let log: LoopLog
    let state: ServerState
    /// The connections to the app, for requests that are passed through.
    let app: AppPools
    let channels: LoopSubscriptions
    /// What their sessions get.
    let sessions: SessionContext
    /// The handlers themselves.
    let registry = ClientRegistry()
    let codecs = DeflateCodecs()
    private(set) var configuration: ServerConfiguration
    private(set) var admission: AdmissionGuard

    /// A buffer for what is written at once; writing into it costs no allocation while nobody else holds it.
    var scratch = ByteBufferAllocator().buffer(capacity: 2048)
    /// The same, for a message while it is compressed.
    var compressed = ByteBufferAllocator().buffer(capacity: 0)

    init(
        sessions: SessionContext,
        app: AppPools,
        flushes: FlushQueue,
        sendBuffers: SendBuffers,
        admission: AdmissionGuard
    ) {
        eventLoop = sessions.eventLoop
        timers = sessions.timers
        metrics = sessions.metrics
        log = sessions.log
        state = sessions.state
        channels = sessions.channels
        configuration = sessions.configuration
        self.sessions = sessions
        self.app = app
        self.flushes = flushes
        self.sendBuffers = sendBuffers
        self.admission = admission
    }

    /// From now on other settings hold.
    func reload(_ configuration: ServerConfiguration, _ admission: AdmissionGuard) {
        self.configuration = configuration
        self.admission = admission
        sendBuffers.limits = SendLimits(configuration.settings)
    }

    /// Reads what a client of a WebSocket sends, under the settings of now.
    func messageReader(_ deflate: NegotiatedDeflate?) -> MessageReader {
        let settings = configuration.settings
        let limits = MessageLimits(
            maxMessageBytes: settings.maxMessageBytes,
            maxFragments: settings.maxFragments,
            maxCompressionRatio: settings.maxCompressionRatio
        )
        guard let deflate else { return MessageReader(limits: limits) }
        return MessageReader(limits: limits, deflate: deflate, codecs: codecs)
    }
}
