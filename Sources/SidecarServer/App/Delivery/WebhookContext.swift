import Logging
import NIOCore
import SidecarCore

/// The connections of an event loop to the app's addresses.
protocol AppCaller: AnyObject {
    /// Starts an exchange with this address; false when there is no such address.
    ///
    /// - Parameter fresh: Don't use a kept-alive connection.
    func call(_ address: Int, for exchange: any AppExchange, fresh: Bool) -> Bool
}

/// What the deliveries of one event loop share.
final class WebhookContext {
    let eventLoop: any EventLoop
    let timers: ShardTimers
    let gate: WebhookGate
    let app: any AppCaller
    let logger: Logger
    /// Whether each attempt gets a log line.
    let logsAttempts: Bool
    var configuration: ServerConfiguration

    init(
        eventLoop: any EventLoop,
        timers: ShardTimers,
        gate: WebhookGate,
        app: any AppCaller,
        logger: Logger,
        configuration: ServerConfiguration
    ) {
        self.eventLoop = eventLoop
        self.timers = timers
        self.gate = gate
        self.app = app
        self.logger = logger
        logsAttempts = logger.logLevel <= .debug
        self.configuration = configuration
    }
}
