/// What came of a client's attempt to resume a session, the `result` label of `resumes_total`.
enum ResumeResult: String, CaseIterable {
    case resumed
    /// There is no session with the token, or not any more; the client gets a new one.
    case unknown
    /// The session is another user's, or was begun from another page, path or browser; the client gets a new one.
    case refused
    /// The client says that it lacks messages that are no longer kept, or has some that were never sent.
    case behind
    /// The session ended between the handshake and `$resume`.
    case gone
    /// The session is on another node, and the app has not answered its last event in time.
    case busy
    /// `$resume` did not come in time.
    case timeout
    case clientGone = "client_gone"
}
