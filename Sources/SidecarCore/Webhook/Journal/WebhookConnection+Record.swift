import HTTP1

/// The record of a connection, without its id.
extension WebhookConnection {
    private enum Tag {
        static let node: UInt8 = 1
        static let subject: UInt8 = 2
        static let target: UInt8 = 3
        static let host: UInt8 = 4
        static let transport: UInt8 = 5
        static let addresses: UInt8 = 6
        static let scheme: UInt8 = 7
        static let forwardedHost: UInt8 = 8
        static let named: UInt8 = 9
        static let field: UInt8 = 10
    }

    /// The record for the outbox.
    public var record: [UInt8] {
        var writer = JournalWriter(capacity: 512)
        writer.write(Tag.node, text: node)
        writer.write(Tag.subject, text: subject)
        writer.write(Tag.target, text: target)
        writer.write(Tag.host, text: host)
        if let mark = transportKind.mark { writer.write(Tag.transport, mark) }
        writer.write(Tag.addresses, text: forwarding.addresses)
        writer.write(Tag.scheme, text: forwarding.scheme)
        writer.write(Tag.forwardedHost, text: forwarding.host)
        if let named = forwarding.named {
            writer.write(Tag.named, name: named.header.rawValue.utf8, value: named.address.utf8)
        }
        for field in fields { writer.write(Tag.field, name: field.name, value: field.value) }
        return writer.record
    }

    /// Reads a record of this version or of the one before.
    ///
    /// The result can be written into a request as it is: none of its bytes ends a line or begins another field.
    public init(record: [UInt8], id: String) throws(JournalFault) {
        self =
            JournalRecord.isVersion1(record)
            ? try WebhookConnection(version1: record, id: id) : try WebhookConnection(fieldsOf: record, id: id)
        guard isFitForRequests else { throw .malformed }
    }

    private init(fieldsOf record: [UInt8], id: String) throws(JournalFault) {
        var reader = try JournalReader(record)
        self.id = id
        node = try reader.text(Tag.node)
        subject = try reader.text(Tag.subject)
        target = try reader.text(Tag.target)
        host = try reader.text(Tag.host)
        transportKind = try TransportKind(mark: try reader.take(Tag.transport).map(Array.init))
        forwarding = ForwardingFields(
            addresses: try reader.text(Tag.addresses),
            scheme: try reader.text(Tag.scheme),
            host: try reader.text(Tag.forwardedHost),
            named: nil
        )
        if let (name, value) = try reader.takePair(Tag.named) {
            guard let header = ClientIPHeader(rawValue: String(decoding: name, as: UTF8.self)),
                let address = String(validating: value, as: UTF8.self)
            else { throw .malformed }
            forwarding.named = ForwardingFields.NamedAddress(header: header, address: address)
        }
        fields = []
        while let (name, value) = try reader.takePair(Tag.field) {
            fields.append(Field(name: Array(name), value: Array(value)))
        }
        try reader.expectEnd()
    }

    private var isFitForRequests: Bool {
        let texts = [
            id, host, forwarding.addresses, forwarding.scheme, forwarding.host, forwarding.named?.address ?? "",
        ]
        return !id.isEmpty && texts.allSatisfy { HTTPField.isValidFieldValue($0) } && !target.isEmpty
            && target.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
            && fields.allSatisfy { field in
                field.name.withUnsafeBytes { HTTPField.isToken($0) && HeaderRules.mayBeRepeated($0) }
                    && field.value.withUnsafeBytes { HTTPField.isValidFieldValue($0) }
            }
    }
}

extension TransportKind {
    /// The value of its field in a record; nil where a record has no such field.
    fileprivate var mark: [UInt8]? {
        switch self {
        case .webSocket: nil
        case .eventStream: []
        case .poll: [1]
        case .stream: [2]
        }
    }

    fileprivate init(mark: [UInt8]?) throws(JournalFault) {
        guard let kind = Self.allCases.first(where: { $0.mark == mark }) else { throw .malformed }
        self = kind
    }
}
