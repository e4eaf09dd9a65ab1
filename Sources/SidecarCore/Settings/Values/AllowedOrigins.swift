/// The pages that may open a socket, with the items of the setting.
public struct AllowedOrigins: Sendable, Equatable {
    /// The policy for handshakes.
    public let policy: OriginPolicy
    /// The items as they were written, in lower case.
    public let items: [String]

    /// `same-host` alone.
    public static let sameHost = AllowedOrigins(policy: .sameHost, items: ["same-host"])

    private init(policy: OriginPolicy, items: [String]) {
        self.policy = policy
        self.items = items
    }

    /// Reads the items of a list, at least one; throws at the first that is no origin.
    public init(parsing items: some Sequence<some StringProtocol>) throws(AdmissionSyntaxFault) {
        let items = items.map { $0.lowercased() }
        self.init(policy: try OriginPolicy(parsing: items), items: items)
    }
}
