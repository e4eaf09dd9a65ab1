/// What the requests about a connection are made of, as far as its handshake says: the same for all of its events.
///
/// A dialect takes it from the handshake and writes by it. It lives no longer than the handshake: an open connection
/// keeps what the dialect has prepared of it (``PreparedConnection``), and the outbox its record.
public struct WebhookConnection: Sendable, Equatable {
    /// A header field of the handshake that goes with every event.
    public struct Field: Sendable, Equatable {
        /// As the client sent it.
        public var name: [UInt8]
        /// As the client sent it, without the white space around it.
        public var value: [UInt8]
    }

    /// Its id, which the ids of its events begin with.
    public var id: String
    /// The name of the node that the client connected to; with its id an event is known by it.
    public var node: String
    /// The path and query that the client asked for.
    public var subject: String
    /// The path and query that its events go to.
    public var target: String
    /// The `Host` that its events go to.
    public var host: String
    /// Whether it is an event stream; else it is a WebSocket.
    public var isStream: Bool
    /// Who the client is to the network.
    public var forwarding: ForwardingFields
    /// The client's own fields, in their order.
    public var fields: [Field]
}
