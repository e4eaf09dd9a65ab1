import HTTP1
import SidecarCore

@testable import SidecarServer

/// A session as far as a delivery knows it.
final class FakeOwner: WebhookDeliveryOwner {
    var results: [WebhookResult] = []

    func deliveryEnded(_ delivery: WebhookDelivery, _ result: WebhookResult) -> ReplyEffects {
        results.append(result)
        return ReplyEffects()
    }

    /// How the only delivery ended, as a word.
    var ending: String {
        guard results.count == 1, let result = results.first else { return "\(results.count) endings" }
        return switch result {
        case .taken(_, .success): "taken"
        case .taken(_, .failure(let failure)): "taken, but \(failure.outcome.rawValue)"
        case .refused(let head, _): "refused \(head.status)"
        case .failed(let failure): "failed \(failure.outcome.rawValue)"
        case .turnedAway(let why): "turned away \(why)"
        }
    }
}
