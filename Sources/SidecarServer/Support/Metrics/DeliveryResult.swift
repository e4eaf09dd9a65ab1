/// What became of a publication at one subscriber, the `result` label of `deliveries_total`.
enum DeliveryResult: String, CaseIterable {
    case queued
    case dropped
}
