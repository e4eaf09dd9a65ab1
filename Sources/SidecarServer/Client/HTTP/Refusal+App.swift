import SidecarCore

extension Refusal {
    /// The refusal while the process shuts down.
    static var draining: Refusal {
        Refusal(
            status: 503,
            sentence: "The server is restarting.",
            reason: .draining,
            retryAfter: ServerConfiguration.retryAfter()
        )
    }

    /// The refusal when the app has no usable reply.
    init(_ failure: DeliveryFailure) {
        switch failure {
        case .timeout:
            self.init(status: 504, sentence: "The application did not answer in time.", reason: .appTimeout)
        case .connect:
            self.init(
                status: 502,
                sentence: "The application cannot be reached.",
                reason: .appUnreachable,
                retryAfter: 1
            )
        case .connectionLost, .status, .badReply:
            self.init(status: 502, sentence: "The application's response is invalid.", reason: .appBadReply)
        }
    }
}
