import SidecarCore

/// The names of what belongs to one node, or to its connections. A node's lie in the slot of its id.
extension ClusterKeys {
    /// The tag of a text that is no channel: FNV-1a with 32 bits, the same in every version.
    static func tag(ofText text: String) -> Int {
        var hash: UInt32 = 2_166_136_261
        for byte in text.utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        return Int(hash % UInt32(tags))
    }

    private func name(_ kind: StaticString, of node: NodeID) -> String { name(Self.tag(ofText: node), kind, node) }

    /// Where it is asked.
    func inbox(of node: NodeID) -> String { name(":a:", of: node) }
    /// Whether messages of a channel are published there.
    static func isTopicOfChannel(_ topic: String) -> Bool { topic.firstRange(of: "}:m:") != nil }
    /// The node of an inbox; nil for any other name.
    func node(ofInbox topic: String) -> NodeID? {
        guard let mark = topic.firstRange(of: "}:a:") else { return nil }
        return String(topic[mark.upperBound...])
    }

    /// Its connections, as other nodes need them to tell of their end: a hash by connection.
    func registered(by node: NodeID) -> String { name(":r:", of: node) }
    /// Those that other nodes tell the app of, since it is lost: a hash by connection.
    func claims(of node: NodeID) -> String { name(":k:", of: node) }
    /// Those that others tell, or have told, the app of: a set.
    func taken(from node: NodeID) -> String { name(":q:", of: node) }
    /// Exists when the node was lost and must register nothing more.
    func buried(_ node: NodeID) -> String { name(":b:", of: node) }
    /// Lost nodes with connections of whose end the app has not been told: a hash by node.
    var lostConnections: String { name(0, ":lostc") }
    /// Sessions that the last node has left: a hash by session.
    var parked: String { name(0, ":parked") }
    /// Exists when other nodes tell, or have told, the app of a connection's end.
    func told(_ connection: String) -> String { name(Self.tag(ofText: connection), ":d:", connection) }
}
