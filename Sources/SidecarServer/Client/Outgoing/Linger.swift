import NIOCore
import SidecarCore

/// Ends our half and waits for the client to take what is left and to end its own.
///
/// Closing at once with bytes unread makes the system send a reset, and the answer is lost (RFC 9112 §9.6).
struct Linger {
    enum Step: Equatable {
        /// The client still takes something, slowly; look again then.
        case wait(until: NIODeadline)
        /// It has taken everything, or has stopped to.
        case close
    }

    private var watch: FlushWatch

    /// - Parameter patience: How long the client may take nothing of what is left.
    init(patience: TimeAmount) {
        watch = FlushWatch(patience: patience)
    }

    /// The last bytes were written and our half ends; the first deadline.
    mutating func begin(at now: NIODeadline) -> NIODeadline {
        watch.begin(at: now)
        return now + ServerConfiguration.linger
    }

    mutating func deadlineReached(unsentBytes: Int, at now: NIODeadline) -> Step {
        watch.isProgressing(unsentBytes: unsentBytes, at: now)
            ? .wait(until: now + ServerConfiguration.linger) : .close
    }
}
