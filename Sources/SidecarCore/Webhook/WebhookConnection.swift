/// The facts of a handshake that the requests of a connection are made of, the same for all of its events.
///
/// A dialect creates it from the handshake and writes requests from it. It is released with the handshake: an open
/// connection keeps what the dialect has prepared from it (``PreparedConnection``), and the outbox its record.
public struct WebhookConnection: Sendable, Equatable {
    /// A header field of the handshake that goes with every event.
    public struct Field: Sendable, Equatable {
        /// As the client sent it.
        public var name: [UInt8]
        /// As the client sent it, without the white space around it.
        public var value: [UInt8]
    }

    /// Its id, with which the ids of its events begin.
    public var id: String
    /// The node that the client connected to; together with the id it identifies an event.
    public var node: String
    /// The path and query that the client asked for.
    public var subject: String
    /// The path and query that its events go to.
    public var target: String
    /// The `Host` that its events go to.
    public var host: String
    /// What carries it.
    public var transportKind: TransportKind
    /// The client's address, scheme and host.
    public var forwarding: ForwardingFields
    /// The client's own fields, in their order.
    public var fields: [Field]
}
