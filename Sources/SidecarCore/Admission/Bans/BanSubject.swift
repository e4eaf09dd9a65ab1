/// Whom a ban keeps out.
public enum BanSubject: Sendable, Hashable {
    /// Every client of a network, or one address.
    case network(IPNetwork)
    /// A user, by the name that the app or a token gives.
    case user(UserName)

    /// `ip` or `user`.
    public var kind: String {
        switch self {
        case .network: "ip"
        case .user: "user"
        }
    }

    /// The address, network or name.
    public var value: String {
        switch self {
        case .network(let network): "\(network)"
        case .user(let name): name.text
        }
    }
}
