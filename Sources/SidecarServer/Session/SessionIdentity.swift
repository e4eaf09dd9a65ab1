import SidecarCore

/// Who the client of a session is, as far as the app or a token has said.
struct SessionIdentity {
    /// Counts with the connections of this user; nil for nobody in particular.
    var user: UserName?
    /// What the app wants to hear again with each event (`Sidesocket-State`).
    var state: String?
    /// How requests say so.
    var prepared: PreparedIdentity?
    /// What tokens say of the client, and timers for it; nil for most.
    var token: TokenIdentity?

    /// Nobody, yet.
    init() {}

    /// Who it was in an earlier process.
    init(_ known: ConnectionIdentity, _ dialect: any WebhookDialect) {
        user = known.user
        state = known.state
        if !known.claims.isEmpty { token = TokenIdentity(claims: known.claims) }
        prepared = dialect.prepare(facts)
    }

    /// The same for the app and for the journal.
    var facts: ConnectionIdentity { ConnectionIdentity(user: user, state: state, claims: token?.claims ?? []) }
}
