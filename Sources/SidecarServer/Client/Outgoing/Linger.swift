import NIOCore
import SidecarCore

/// Ends our half and waits for the client to read the rest and to end its own half.
///
/// Closing at once with unread bytes makes the system send a reset, and the response is lost (RFC 9112 §9.6).
struct Linger {
    enum Step: Equatable {
        /// The client still reads, slowly; check again then.
        case wait(until: NIODeadline)
        /// It has read everything, or has stopped reading.
        case close
    }

    private var watch: FlushWatch

    /// - Parameter patience: How long the client may read nothing.
    init(patience: TimeAmount) {
        watch = FlushWatch(patience: patience)
    }

    /// The last bytes were written and our half ends; returns the first deadline.
    mutating func begin(at now: NIODeadline) -> NIODeadline {
        watch.begin(at: now)
        return now + ServerConfiguration.linger
    }

    mutating func deadlineReached(unsentBytes: Int, at now: NIODeadline) -> Step {
        watch.isProgressing(unsentBytes: unsentBytes, at: now)
            ? .wait(until: now + ServerConfiguration.linger) : .close
    }
}
