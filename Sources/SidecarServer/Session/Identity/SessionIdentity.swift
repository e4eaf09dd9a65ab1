import SidecarCore

/// Who the client of a session is, as far as the app or a token has said.
struct SessionIdentity {
    /// The user whose connections it is counted with; nil for an anonymous client.
    var user: UserName?
    /// The state that the app has attached (`Sidesocket-State`), sent with each event.
    var state: String?
    /// The identity as parts of requests.
    var prepared: PreparedIdentity?
    /// The token and its timers; nil for most clients.
    var token: TokenIdentity?

    /// An anonymous client.
    init() {}

    /// The identity of a session of an earlier process.
    init(_ known: ConnectionIdentity, _ dialect: any WebhookDialect) {
        user = known.user
        state = known.state
        if !known.claims.isEmpty { token = TokenIdentity(claims: known.claims) }
        prepared = dialect.prepare(facts)
    }

    /// The identity for the app and for the journal.
    var facts: ConnectionIdentity { ConnectionIdentity(user: user, state: state, claims: token?.claims ?? []) }
}
