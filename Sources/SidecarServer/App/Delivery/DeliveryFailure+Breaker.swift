import SidecarCore

extension CircuitBreaker.Outcome {
    /// What a failed call says about the health of the app's address.
    init(_ failure: DeliveryFailure) {
        switch failure {
        case .status(429), .badReply: self = .neutral
        case .status(let status): self = status >= 500 ? .failure : .success
        case .timeout, .connect, .connectionLost: self = .failure
        }
    }
}

extension DeliveryFailure {
    /// A reply whose body exceeds `MAX_REPLY_BYTES`.
    static var tooLargeReply: DeliveryFailure { .badReply("Its body is larger than MAX_REPLY_BYTES.") }
}
