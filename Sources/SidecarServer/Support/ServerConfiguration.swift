import HTTP1
import Logging
import NIOCore
import NIOSSL
import SidecarCore
import WebSocketProtocol

/// What all event loops share; a reload replaces the whole object.
final class ServerConfiguration: Sendable {
    let settings: Settings
    let dialect: any WebhookDialect
    let router: RequestRouter
    let requestLimits: HTTPLimits
    let replyLimits: HTTPLimits
    let maxConnections: Int
    let tlsContext: NIOSSLContext?
    /// TLS of the public addresses; nil for plain HTTP.
    let serverTLS: NIOSSLContext?
    /// The compression that is agreed to; nil when it is off.
    let deflate: DeflateSettings?
    let heartbeat: HeartbeatPolicy
    let retryPolicy: RetryPolicy
    /// The most bytes in the body of a POST of the client protocol: some frames, or where a returning client was.
    let maxPostBytes: Int
    /// The client for browsers; nil where it is not served.
    let clientScript: ClientScript?

    /// How long a connection to the app may stay unused. Below the five seconds after which Node closes, so that
    /// we rarely write into a closing one, and short enough to free the workers of small apps.
    static let appConnectionIdle = TimeAmount.seconds(4)
    /// How long a connection to the app is used; then the app's name is resolved anew.
    static let appConnectionLifetime = TimeAmount.seconds(60)
    /// How long connecting to the app may take.
    static let connectTimeout = TimeAmount.seconds(5)
    /// How long a client's connection may wait between two requests.
    static let clientKeepAlive = TimeAmount.seconds(75)
    /// How long a pass-through transfer may make no progress because of the client.
    static let clientStall = TimeAmount.seconds(60)
    /// How long we read and discard after the last answer, so that the client sees it instead of a reset.
    static let linger = TimeAmount.seconds(2)
    /// How long a client may read nothing of what is left to send before it is given up.
    static let flushPatience = TimeAmount.seconds(10)
    /// How long the residual input of a client that has gone may wait for its rate.
    static let residualInputPatience = TimeAmount.seconds(5)
    /// New connections for each event loop in a millisecond; leaves most of its time to the open ones.
    static let acceptsPerMillisecond = 2.0
    /// New connections that are accepted at once after a quiet time.
    static let acceptBurst = 64
    /// How many connections are accepted in a row when the pace allows more again.
    static let acceptBatch = 8
    /// The part of `DRAIN_TIMEOUT` over which closes are spread; the rest is for the events of the last ones.
    static let drainSpread = 0.8
    /// When a client that is refused for now may try again, in whole seconds: random, so that clients do not all return
    /// at once.
    static func retryAfter() -> Int { Int.random(in: 1...10) }
    /// The most bytes of a refusal by the app that are relayed.
    static let maxRelayedBody = 64 << 10

    init(settings: Settings, nodeName: String, maxConnections: Int) throws {
        self.settings = settings
        self.maxConnections = maxConnections
        let target = settings.webhookTarget
        let isOnApp = settings.webhookIsOnApp
        dialect = CloudEventsDialect(
            nodeName: nodeName,
            authority: settings.webhookOrigins.first?.authority ?? "",
            preserveHost: settings.preserveHost && isOnApp,
            webhookPath: target?.path,
            forwardedHeaders: settings.forwardHeaders,
            secrets: settings.webhookSecrets
        )
        router = RequestRouter(
            webSocketPaths: settings.wsPaths,
            streamPaths: settings.ssePaths ?? [],
            protocolPaths: settings.clientProtocol ? settings.httpPaths ?? [] : [],
            webhookPath: isOnApp ? target?.path : nil,
            scriptPath: settings.clientScriptPath
        )
        clientScript = settings.clientScriptPath == nil ? nil : ClientScript()
        maxPostBytes = 2 * settings.maxMessageBytes + max(64 << 10, 512 * settings.maxChannelsPerConnection)
        deflate =
            settings.compression
            ? DeflateSettings(allowContextTakeover: settings.compressionContextTakeover) : nil
        heartbeat = HeartbeatPolicy(settings, HeartbeatPlan(settings))
        requestLimits = HTTPLimits(maxHeadBytes: settings.maxHeaderBytes, maxHeaders: settings.maxHeaders)
        replyLimits = HTTPLimits(maxHeadBytes: 64 << 10, maxHeaders: 200)
        retryPolicy = RetryPolicy(retryFor: settings.webhookRetryFor)
        tlsContext = settings.callsOverTLS ? try Self.makeTLSContext(caFile: settings.appCAFile) : nil
        serverTLS = try ServerTLS.context(settings)
    }

    private static func makeTLSContext(caFile: String?) throws -> NIOSSLContext {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv12
        tls.applicationProtocols = ["http/1.1"]
        tls.shutdownTimeout = .milliseconds(500)  // an app that does not end TLS must not delay our close
        if let caFile { tls.trustRoots = .certificates(try ServerTLS.authorities("APP_CA_FILE", caFile)) }
        return try NIOSSLContext(configuration: tls)
    }
}
