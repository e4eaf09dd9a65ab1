public import SidecarCore

/// The names of what a cluster keeps in Redis.
///
/// Every name has one of ``tags`` hash tags, chosen by the channel, so that what a script touches lies in one slot of a
/// Redis Cluster. They are the same in every topology, so that the topology can change. The channel's name comes last,
/// behind the hash tag, where no character of it means anything to Redis.
public struct ClusterKeys: Sendable {
    /// The number of hash tags. A Redis Cluster cannot spread the channels over more masters than this.
    public static let tags = 16

    /// The version of the formats, part of every name: another one is another cluster.
    static let version = 1

    private let prefix: String
    /// Each tag's names up to their kinds: `PREFIX:1{07}`.
    private let stems: [String]

    /// The names of a cluster.
    ///
    /// - Parameter prefix: `CLUSTER_PREFIX`.
    public init(prefix: String) {
        self.prefix = prefix
        stems = (0..<Self.tags).map { tag in "\(prefix):\(Self.version){\(tag < 10 ? "0" : "")\(tag)}" }
    }

    /// The tag of a channel.
    public static func tag(of channel: ChannelName) -> Int { Int(ChannelMark.hash(channel) % UInt32(tags)) }

    func name(_ tag: Int, _ kind: StaticString, _ rest: String = "") -> String {
        (stems.indices.contains(tag) ? stems[tag] : prefix) + "\(kind)" + rest
    }

    // MARK: Of the cluster

    /// The nodes that are alive: a hash by incarnation.
    var nodeList: String { name(0, ":nodes") }
    /// Lost nodes that are cleared up after: a hash by incarnation.
    var lostNodes: String { name(0, ":lost") }

    // MARK: Of one channel

    /// Its epoch, the offset and id of its last message, and when the epoch began: a string.
    func head(_ channel: ChannelName) -> String { name(Self.tag(of: channel), ":c:", channel.text) }
    /// Its history: a stream, whose entries have the offsets as ids.
    func history(_ channel: ChannelName) -> String { name(Self.tag(of: channel), ":h:", channel.text) }
    /// The nodes that subscribe to it: a hash by incarnation.
    func nodes(_ channel: ChannelName) -> String { name(Self.tag(of: channel), ":o:", channel.text) }
    /// Where its messages are published.
    func topic(_ channel: ChannelName) -> String { name(Self.tag(of: channel), ":m:", channel.text) }
    /// An idempotency key of its publications: a string.
    func idempotency(_ key: String, _ channel: ChannelName) -> String {
        // Both parts may contain any character, so the length says where the first one ends.
        name(Self.tag(of: channel), ":i:", "\(key.utf8.count):\(key)\(channel.text)")
    }
    /// The channel of a topic; nil for any other name.
    func channel(ofTopic topic: String) -> ChannelName? {
        guard let mark = topic.firstRange(of: "}:m:") else { return nil }
        return ChannelName(topic[mark.upperBound...])
    }

    /// The beginnings of these names, which end where the channel's name follows.
    func headStem(_ tag: Int) -> String { name(tag, ":c:") }
    func historyStem(_ tag: Int) -> String { name(tag, ":h:") }
    func nodesStem(_ tag: Int) -> String { name(tag, ":o:") }

    // MARK: Of one tag

    /// The number of publications and an epoch of its own: a hash.
    func counter(_ tag: Int) -> String { name(tag, ":t") }
    /// The names of the channels that may exist: a sorted set.
    func index(_ tag: Int) -> String { name(tag, ":x") }
    /// The channels that a node subscribes to: a set.
    func channels(_ tag: Int, of incarnation: String) -> String { name(tag, ":n:", incarnation) }
    /// Channel events that a node owes the app: a hash by channel, `o` for occupied and `v` for vacated.
    func owedEvents(_ tag: Int, of incarnation: String) -> String { name(tag, ":y:", incarnation) }
    /// The last publications of a node, by their numbers: a hash.
    func published(_ tag: Int, by incarnation: String) -> String { name(tag, ":p:", incarnation) }
}
