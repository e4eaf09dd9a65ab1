import CoreMetrics
import SidecarCore

/// What is measured of the webhooks of one event.
final class WebhookMetrics: Sendable {
    let answered: Counter
    let duration: Timer
    let wait: Timer
    let retries: Counter
    private let outcomes: LabelledCounters<WebhookOutcome>

    init(_ event: WebhookEvent) {
        let event = [("event", event.rawValue)]
        outcomes = LabelledCounters("sidesocket_webhook_requests_total", "outcome", beside: event)
        answered = outcomes[.success]
        duration = Timer(label: "sidesocket_webhook_request_duration_seconds", dimensions: event)
        wait = Timer(label: "sidesocket_webhook_wait_seconds", dimensions: event)
        retries = Counter(label: "sidesocket_webhook_retries_total", dimensions: event)
    }

    func failed(_ failure: DeliveryFailure) { outcomes[failure.outcome].increment() }
}
