import NIOCore

/// A command on its way through the client.
struct RedisRequest {
    let command: RedisCommand
    /// How many bytes it takes at most when it is sent.
    let size: Int
    let deadline: NIODeadline
    /// The server has refused the script's name, so that the script itself has to be sent.
    var needsSource = false
    /// How often a server has named another one for it.
    var redirects = 0
    /// The server wants `ASKING` before it.
    var asks = false
    /// It is bound to the connection that it is sent on.
    var staysOnConnection = false
    /// What kept it from being carried out so far.
    var obstacle: String?
    let completion: (Result<RESPValue, RedisFailure>) -> Void

    init(
        _ command: RedisCommand,
        deadline: NIODeadline,
        completion: @escaping (Result<RESPValue, RedisFailure>) -> Void
    ) {
        self.command = command
        self.deadline = deadline
        self.completion = completion
        size = command.maxEncodedBytes
    }

    func fail(_ failure: RedisFailure) { completion(.failure(failure)) }

    /// Why it has to fail when its time is over before it was sent.
    func expiry(_ why: String?) -> RedisFailure {
        guard let reason = obstacle ?? why else { return .notSent(.timeout) }
        return .notSent(.unavailable(reason))
    }
}
