public import SidecarCore

/// What a token has to be like.
public struct TokenPolicy: Sendable, Equatable {
    /// A claim that the app is told.
    public struct ForwardedClaim: Sendable, Equatable {
        /// The claim's name in the token.
        public let claim: String
        /// The name by which the app gets it.
        public let name: String

        /// Makes one.
        public init(claim: String, name: String) {
            self.claim = claim
            self.name = name
        }
    }

    /// The algorithms that are accepted.
    public var algorithms: [TokenAlgorithm]
    /// Who may have issued it; empty for everybody.
    public var issuers: [String]
    /// Whom it may be meant for; empty for everybody.
    public var audiences: [String]
    /// The claim that names the user.
    public var userClaim: String
    /// How far clocks may differ, in seconds.
    public var leeway: Double
    /// Claims for the app.
    public var forwardedClaims: [ForwardedClaim]

    /// Makes a policy.
    public init(
        algorithms: [TokenAlgorithm],
        issuers: [String] = [],
        audiences: [String] = [],
        userClaim: String = "sub",
        leeway: Double = 30,
        forwardedClaims: [ForwardedClaim] = []
    ) {
        self.algorithms = algorithms
        self.issuers = issuers
        self.audiences = audiences
        self.userClaim = userClaim
        self.leeway = leeway
        self.forwardedClaims = forwardedClaims
    }
}
