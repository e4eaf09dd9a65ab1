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
    /// It is not allowed: why not, in one sentence for the caller.
    case refused(String)
    /// Who would have to carry it out cannot be reached now: who that is, in one sentence for the caller. It may have
    /// been carried out all the same.
    case unavailable(String)
}

extension OperatorFailure {
    /// What a broker cannot do.
    public init(_ failure: ChannelFailure) {
        switch failure {
        case .unknownChannel: self = .noChannel
        case .gone: self = .historyGone
        // What the broker says of its connection is for the log.
        case .unavailable: self = .unavailable("Channels cannot be reached.")
        }
    }
}

extension OperatorFailure {
    /// What a store cannot do.
    public init(_ failure: StoreFailure) {
        switch failure {
        // What the store says of its connection is for the log.
        case .unavailable: self = .unavailable("Bans cannot be reached.")
        }
    }
}
