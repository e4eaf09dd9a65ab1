/// What a broker carries: a publication, and what its subscribers need to know about it.
public struct ChannelEnvelope: Sendable {
    /// The message.
    public let publication: Publication
    /// The connection that does not get it, live or from the history.
    public let excluded: ExcludedConnection?
    /// The node that published it; nil for this one.
    public let origin: String?
    /// The publisher's own object, which never leaves the node: it is passed back in
    /// ``ChannelBrokerEvents/received(_:at:time:)`` there. Nil for messages of other nodes.
    public let context: (any AnyObject & Sendable)?
    /// Under which name each node is to tell the publishing one who got the message; nil for not at all.
    public let report: String?

    /// An envelope of this node, unless `origin` names another.
    public init(
        _ publication: Publication,
        excluding excluded: ExcludedConnection? = nil,
        origin: String? = nil,
        context: (any AnyObject & Sendable)? = nil,
        report: String? = nil
    ) {
        self.report = report
        self.publication = publication
        self.excluded = excluded
        self.origin = origin
        self.context = context
    }
}
