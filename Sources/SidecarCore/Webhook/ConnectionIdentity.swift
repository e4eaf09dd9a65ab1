/// Who a client is to the app: the claims of its token, and the user and state that the app has set.
public struct ConnectionIdentity: Sendable, Equatable {
    /// One claim of a verified token.
    public struct Claim: Sendable, Equatable {
        /// The attribute of events in which the app gets it: `claim` and the letters and digits of the claim's name.
        public var name: String
        /// A string as it is, any other value as JSON.
        public var value: String

        /// Makes a claim.
        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// The user's name, if there is one.
    public var user: UserName?
    /// The text that the app has attached to the connection, if any.
    public var state: String?
    /// The claims of the token.
    public var claims: [Claim]

    /// An identity; without arguments the client is anonymous.
    public init(user: UserName? = nil, state: String? = nil, claims: [Claim] = []) {
        self.user = user
        self.state = state
        self.claims = claims
    }

    /// True when nothing is known of the client.
    public var isAnonymous: Bool { user == nil && state == nil && claims.isEmpty }

    /// The identity after a reply of the app.
    public func marked(by reply: SessionReply) -> ConnectionIdentity {
        var identity = self
        identity.mark(user: reply.user, state: reply.state)
        if case .commands(let commands) = reply.output {
            for command in commands {
                if case .user(let user) = command { identity.mark(user: user, state: nil) }
                if case .state(let state) = command { identity.mark(user: nil, state: state) }
            }
        }
        return identity
    }

    private mutating func mark(user: UserName?, state: String?) {
        if let user { self.user = user.isEmpty ? nil : user }
        if let state { self.state = state.isEmpty ? nil : state }
    }
}
