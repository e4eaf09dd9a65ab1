/// The names of what reading a stream keeps in Redis, beside the stream.
///
/// They lie in the slot of the stream, so that a script may touch all of them in a Redis Cluster, too. Where the stream's
/// name has a `}` but no hash tag, that is not possible, and a cluster refuses the scripts.
struct IngestKeys: Sendable, Equatable {
    /// The version of the formats.
    private static let version = 1
    /// The name under which all nodes read: what one of them has taken, the next one finds.
    static let consumer = "sidesocket"

    /// The stream itself.
    let stream: String
    /// The consumer group.
    let group: String
    /// Who reads: a string, the random token of a node.
    let lease: String
    /// What names the stream in idempotency keys: a random string. Streams of two servers may have the same name and
    /// entries with the same ids.
    let source: String

    /// - Parameter prefix: `CLUSTER_PREFIX`.
    init(stream: String, prefix: String) {
        self.stream = stream
        group = prefix
        let stem = "\(prefix):\(Self.version):ingest:"
        if stream.utf8.contains(UInt8(ascii: "}")) {
            // It has a hash tag of its own. No name that is made the other way begins like this.
            lease = "\(stem)lease:\(stream)"
            source = "\(stem)source:\(stream)"
        } else {
            lease = "\(stem){\(stream)}:lease"
            source = "\(stem){\(stream)}:source"
        }
    }
}
