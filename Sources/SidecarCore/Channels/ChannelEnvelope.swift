public import NIOCore

/// A message for a channel.
public struct Publication: Sendable, Equatable {
    /// Where it goes.
    public let channel: ChannelName
    /// Text or binary.
    public let format: MessageFormat
    /// The message's bytes.
    public let payload: ByteBuffer
    /// The event type on event streams; nil for the usual one.
    public let event: String?

    /// A publication; the arguments are not checked.
    public init(channel: ChannelName, format: MessageFormat, payload: ByteBuffer, event: String? = nil) {
        self.channel = channel
        self.format = format
        self.payload = payload
        self.event = event
    }
}

/// The connection that does not get a publication.
public struct ExcludedConnection: Sendable, Equatable {
    /// The connection's id.
    public let id: String
    /// Its hash as it stands in the cursors of its event stream (``StreamCursor/reader(_:)``).
    public let reader: UInt64

    /// The connection with this id.
    public init(_ id: String) {
        self.id = id
        reader = StreamCursor.reader(id)
    }
}

/// What a broker carries: a publication, and what its subscribers need to know about it.
public struct ChannelEnvelope: Sendable {
    /// The message.
    public let publication: Publication
    /// The connection that does not get it, live or from the history.
    public let excluded: ExcludedConnection?
    /// The node that published it; nil for this one.
    public let origin: String?
    /// The publisher's own object, which never leaves the node: it is passed back in
    /// ``ChannelBrokerEvents/received(_:at:)`` there. Nil for messages of other nodes.
    public let context: (any AnyObject & Sendable)?

    /// An envelope of this node, unless `origin` names another.
    public init(
        _ publication: Publication,
        excluding excluded: ExcludedConnection? = nil,
        origin: String? = nil,
        context: (any AnyObject & Sendable)? = nil
    ) {
        self.publication = publication
        self.excluded = excluded
        self.origin = origin
        self.context = context
    }
}
