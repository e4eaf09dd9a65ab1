import Logging
import NIOCore

/// Says in the log when an outage begins and ends, and nothing in between, except that somebody has to change a setting.
struct OutageLog {
    private let logger: Logger
    private let name: String
    private var since: NIODeadline?
    private var toldOfRefusal = false

    init(logger: Logger, name: String) {
        self.logger = logger
        self.name = name
    }

    /// Something does not work.
    mutating func began(_ fault: ConnectionFault, at now: NIODeadline) {
        let isRefusal = fault.kind == .refusal
        if since == nil {
            since = now
            toldOfRefusal = isRefusal
        } else if isRefusal, !toldOfRefusal {
            // It began with the network and goes on with what will not pass by itself.
            toldOfRefusal = true
        } else {
            return
        }
        logger.warning("\(name) is not available: \(fault.sentence)")
    }

    /// Nobody waits for the end of the outage any more, for this reason.
    mutating func abandoned(_ why: String) {
        guard since != nil else { return }
        since = nil
        logger.notice("\(name) is no longer used: \(why)")
    }

    /// Everything works; the end of an outage if there was one.
    mutating func ended(at now: NIODeadline) {
        guard let since else { return }
        self.since = nil
        let seconds = (now - since).nanoseconds / 1_000_000_000
        logger.notice("\(name) is available again after \(seconds) s.")
    }
}
