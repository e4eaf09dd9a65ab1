/// Why a broker could not do what it was asked.
public enum ChannelFailure: Error, Sendable, Equatable {
    /// There is no such channel.
    case unknownChannel
    /// What was asked for is no longer kept: the epoch has changed, or the messages have expired or made room for
    /// others.
    case gone
    /// The broker cannot be reached.
    case unavailable(String)
    /// Fewer replicas than asked for have what was published; it may be delivered all the same.
    case tooFewReplicas
    /// What was published may have been carried out or not; the sentence says why it is not known.
    case unknown(String)
}
