import RedisClient

/// Errors of the server in words for whoever has configured `INGEST_URL`.
enum IngestRefusal {
    /// What is wrong, and how to mend it.
    static func sentence(_ reply: RedisErrorReply, keys: IngestKeys) -> String {
        switch reply.code {
        case "WRONGTYPE":
            "A key holds something else than it should: \(keys.stream) has to be a stream, \(keys.lease) and "
                + "\(keys.source) strings. Delete or rename the other key, or name another stream in INGEST_URL. "
                + "Redis said: \(reply.text)"
        case "NOPERM":
            "The ACL of Redis forbids a command. Allow the user of INGEST_URL +@connection, +@stream, +@scripting, +info, "
                + "+role, +get, +set, +del, +pexpire and +time on the keys ~\(keys.stream) and ~\(keys.group):*. Redis said: \(reply.text)"
        case "CROSSSLOT":
            "In a Redis Cluster the name of the stream must not have a } without a hash tag before it. Name another "
                + "stream in INGEST_URL. Redis said: \(reply.text)"
        default:
            if reply.message.contains("ACL failure") || reply.message.contains("can't run this command") {
                // What a script may not do is told without the code.
                sentence(RedisErrorReply("NOPERM \(reply.text)"), keys: keys)
            } else {
                reply.sentence.replacing("CLUSTER_URL", with: "INGEST_URL")
            }
        }
    }
}
