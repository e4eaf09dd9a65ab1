/// Why an operator's call could not be carried out.
public enum OperatorFailure: Error, Sendable, Equatable {
    /// There is no such connection, or no longer.
    case noConnection
    /// There is no such channel, or it has no history.
    case noChannel
    /// The messages that were asked for are no longer kept.
    case historyGone
    /// There is no such ban.
    case noBan
    /// The connection is in as many channels as allowed.
    case tooManyChannels
    /// There is no room for another ban.
    case bansFull
    /// It is not allowed; one sentence for the caller says why.
    case refused(String)
    /// Something that the call needs cannot be reached now; one sentence for the caller says what. The call may have
    /// been carried out all the same.
    case unavailable(String)
}

extension OperatorFailure {
    /// The failure that the caller of the API gets.
    public init(_ failure: ChannelFailure) {
        switch failure {
        case .unknownChannel: self = .noChannel
        case .gone: self = .historyGone
        // Details of the broker's connection are for the log only.
        case .unavailable: self = .unavailable("Channels cannot be reached.")
        case .tooFewReplicas:
            self = .unavailable(
                "Fewer replicas than CLUSTER_MIN_REPLICAS have the message; it may be delivered all the same."
            )
        case .unknown:
            self = .unavailable(
                "Channels could not be reached in time. The message may have been published; with the same Idempotency-Key "
                    + "it can be sent again."
            )
        }
    }
}

extension OperatorFailure {
    /// The failure that the caller of the API gets.
    public init(_ failure: StoreFailure) {
        switch failure {
        // Details of the store's connection are for the log only.
        case .unavailable: self = .unavailable("Bans cannot be reached.")
        }
    }
}
