import NIOCore

/// Who the client is, in the fields that proxies use for it.
public struct ForwardingFields: Sendable, Equatable {
    /// `X-Forwarded-For`: the client, then the proxies on the way.
    public var addresses: String
    /// `X-Forwarded-Proto`: `http` or `https`.
    public var scheme: String
    /// `X-Forwarded-Host`: the host that the client asked for.
    public var host: String
    /// The field with the client's address alone, for apps that trust a proxy of that kind.
    public var named: NamedAddress?

    /// An address in a field that holds one.
    public struct NamedAddress: Sendable, Equatable {
        /// Which field.
        public var header: ClientIPHeader
        /// The client's address.
        public var address: String
    }

    /// The fields for a client.
    ///
    /// - Parameter host: What its `Host` field says.
    init(_ client: ClientIdentity, host: String) {
        addresses = client.forwardedFor
        scheme = client.scheme
        self.host = client.forwardedHost ?? host
        named = client.namedIn.map { NamedAddress(header: $0, address: client.address) }
    }

    init(addresses: String, scheme: String, host: String, named: NamedAddress?) {
        self.addresses = addresses
        self.scheme = scheme
        self.host = host
        self.named = named
    }
}

extension ByteBuffer {
    /// Writes the fields; what the client sent under these names has to be left out.
    mutating func writeForwardingFields(_ fields: ForwardingFields) {
        writeField("X-Forwarded-For", fields.addresses)
        writeField("X-Forwarded-Proto", fields.scheme)
        writeField("X-Forwarded-Host", fields.host)
        if let named = fields.named { writeField(named.header.fieldName, named.address) }
    }

    /// Writes the fields for a client whose `Host` field is `host`.
    mutating func writeForwardingFields(client: ClientIdentity, host: String) {
        writeForwardingFields(ForwardingFields(client, host: host))
    }
}
