import HTTP1
import NIOCore
import SidecarCore

/// How a delivery ended.
enum WebhookResult {
    /// The app accepted the event with a 2xx. What its reply asks for may still break the contract.
    case taken(HTTPReplyHead, Result<SessionReply, DeliveryFailure>)
    /// The app replied to a handshake with another status.
    case refused(HTTPReplyHead, ByteBuffer)
    /// The app did not accept the event, and there will be no further attempt.
    case failed(DeliveryFailure)
    /// The app was not asked.
    case turnedAway(TurnedAway)

    /// Why the app was not asked.
    enum TurnedAway {
        /// Too many handshakes wait already.
        case queueFull
        /// No address can be called.
        case unavailable
    }
}

extension WebhookResult {
    /// The same, when the reply could not be applied.
    func withFault(_ fault: DeliveryFailure) -> WebhookResult {
        if case .taken(let head, _) = self { .taken(head, .failure(fault)) } else { self }
    }

    /// Why the delivery was not successful; nil when the app accepted the event and its reply is valid.
    var failure: DeliveryFailure? {
        switch self {
        case .taken(_, .success): nil
        case .taken(_, .failure(let failure)), .failed(let failure): failure
        case .refused(let head, _): .status(head.status)
        case .turnedAway: .connect("the circuit breaker is open on every address.")
        }
    }

    /// The reply; throws the reason when there is none.
    func get() throws(DeliveryFailure) -> SessionReply {
        if case .taken(_, .success(let reply)) = self { return reply }
        throw failure ?? .connectionLost
    }
}
