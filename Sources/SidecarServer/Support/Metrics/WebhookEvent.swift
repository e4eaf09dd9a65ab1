/// What the app is told by a webhook, the `event` label of the `webhook_…` metrics.
enum WebhookEvent: String, CaseIterable {
    case open
    case message
    case close
    case revalidate
    case detached
    case resumed
    /// A channel has got its first subscriber or lost its last one.
    case channel
}
