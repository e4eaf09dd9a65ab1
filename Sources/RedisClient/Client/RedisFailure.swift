/// Why a command has no reply.
public enum RedisFailure: Error, Sendable, Hashable {
    /// It was certainly not carried out.
    case notSent(NotSentReason)
    /// It was written and may have been carried out.
    case unknown(UnknownReason)
    /// It was certainly not carried out, because the server named another one or asked for patience; see
    /// ``RedisCommand/followsRedirects``.
    case redirected
    /// The server answered with an error.
    case refused(RedisErrorReply)

    /// Why a command was not sent.
    public enum NotSentReason: Sendable, Hashable {
        /// There is no connection, for this reason.
        case unavailable(String)
        /// Too much is waiting for replies, or for a connection.
        case full
        /// No connection came up in time.
        case timeout
        /// The client was closed.
        case closed
    }

    /// Why the outcome of a command is not known.
    public enum UnknownReason: Sendable, Hashable {
        /// No reply came in time.
        case timeout
        /// The connection was lost before the reply, for this reason.
        case connectionLost(String)
    }

    /// One sentence for logs and users; it names the remedy where one is known.
    public var sentence: String {
        switch self {
        case .notSent(.unavailable(let why)): "Redis is not available: \(why)"
        case .notSent(.full): "Too many commands are waiting for Redis."
        case .notSent(.timeout): "No connection to Redis came up in time."
        case .notSent(.closed): "The connections to Redis were closed."
        case .unknown(.timeout): "Redis did not answer in time."
        case .unknown(.connectionLost(let why)): "The connection to Redis was lost before the reply: \(why)"
        case .redirected: "Redis is being rearranged; try again."
        case .refused(let reply): reply.sentence
        }
    }
}

extension RedisErrorReply {
    /// One sentence that names the remedy where one is known, and then what the server said.
    public var sentence: String {
        guard let remedy else { return "Redis answered with an error: \(shown)" }
        return "\(remedy) Redis said: \(shown)"
    }

    /// What a log line takes of it: the first 300 characters, without control characters.
    var shown: String {
        String(text.prefix(300).map { $0.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7F } ? " " : $0 })
    }

    private var remedy: String? {
        switch code {
        case "OOM": "Redis is out of memory; raise its maxmemory, or keep less in it."
        case "NOPERM": "The ACL of Redis forbids the command; allow it to the user of CLUSTER_URL."
        case "NOAUTH": "Redis wants a password; put it into CLUSTER_URL."
        case "WRONGPASS": "Redis refused the user or the password of CLUSTER_URL."
        case "MISCONF":
            "Redis cannot write to its disk and therefore refuses writes; look at the disk and log of Redis."
        case "READONLY":
            "This Redis is a replica; use the master's address, or redis+sentinel:// or redis+cluster:// in CLUSTER_URL."
        case "NOREPLICAS": "Redis has fewer replicas than its min-replicas-to-write asks for; look at the replicas."
        case "LOADING": "Redis is still loading its data; wait."
        case "MASTERDOWN": "This Redis is a replica without its master; look at the master."
        case "CLUSTERDOWN": "The Redis Cluster is down or lacks slots; look at its CLUSTER INFO."
        case "BUSY": "Redis is busy with a script that runs for too long."
        case "ERR" where text.contains("user executing the script can't run"):
            "The ACL of Redis forbids a command of a script; allow it to the user of CLUSTER_URL."
        case "NOPROTO": "Redis does not speak RESP3; version 6.2 or later is needed."
        default: nil
        }
    }
}
