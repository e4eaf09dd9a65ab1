/// What has become of a POST of the client protocol over HTTP, the `result` label of `posts_total`.
enum PostResult: String, CaseIterable {
    /// Answered with frames.
    case frames
    /// A poll for which nothing came in time.
    case empty
    /// A poll that a newer one has replaced.
    case replaced
    /// It only brought frames, beside a stream.
    case nothing
    /// The answer of before, since it had come before.
    case repeated
    /// Passed on to the node that has the session.
    case relayed
    /// There is no such session here: the client resumes it.
    case ended
    /// Its number was not one of the next.
    case outOfTurn = "out_of_turn"
}
