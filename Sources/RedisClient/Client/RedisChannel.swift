/// A channel to subscribe to.
///
/// In a cluster it is subscribed at the owner of its name's slot, where hash tags count as for keys.
public struct RedisChannel: Sendable, Hashable {
    /// Its name.
    public let name: String

    /// Makes a channel.
    public init(name: String) { self.name = name }
}
