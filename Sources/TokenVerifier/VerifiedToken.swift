public import SidecarCore

/// What a good token says.
public struct VerifiedToken: Sendable, Equatable {
    /// Who the client is.
    public let user: UserName
    /// From when on it no longer counts, in seconds since 1970, leeway included.
    public let expiresAt: Double
    /// The claims for the app that it has, by the names that the policy gives them.
    public let claims: [Claim]

    /// One claim.
    public struct Claim: Sendable, Equatable {
        /// Its name for the app.
        public let name: String
        /// A string as it is, everything else as JSON.
        public let value: String
    }
}
