import Logging
import NIOCore

/// What the parts of a client share.
final class RedisContext {
    let configuration: RedisConfiguration
    let eventLoop: any EventLoop
    let logger: Logger
    weak var delegate: (any RedisClientDelegate)?
    /// It was said that the ACL forbids `INFO`; once is enough.
    var toldOfMissingInfo = false
    /// What was said last of keys that a server removes.
    var toldOfEviction: EvictionPolicy?
    private var generator = SystemRandomNumberGenerator()

    init(
        configuration: RedisConfiguration,
        eventLoop: any EventLoop,
        logger: Logger,
        delegate: (any RedisClientDelegate)?
    ) {
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.logger = logger
        self.delegate = delegate
    }

    /// The next pause of a back-off.
    func pause(_ backoff: inout Backoff) -> TimeAmount { backoff.next(using: &generator) }

    /// Calls on the event loop, after what is being done now.
    func later(_ body: @escaping () -> Void) { eventLoop.assumeIsolated().execute(body) }
}
