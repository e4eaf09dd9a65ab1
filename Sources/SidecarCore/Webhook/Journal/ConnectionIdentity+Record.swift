import HTTP1

/// The record of who a client is; empty for an anonymous client.
extension ConnectionIdentity {
    private enum Tag {
        static let user: UInt8 = 1
        static let state: UInt8 = 2
        static let claim: UInt8 = 3
    }

    /// The record for the outbox.
    public var record: [UInt8] {
        if isAnonymous { return [] }
        var writer = JournalWriter()
        if let user { writer.write(Tag.user, text: user.text) }
        if let state { writer.write(Tag.state, text: state) }
        for claim in claims { writer.write(Tag.claim, name: claim.name.utf8, value: claim.value.utf8) }
        return writer.record
    }

    /// Reads a record of this version or of the one before.
    public init(record: [UInt8]) throws(JournalFault) {
        if record.isEmpty {
            self.init()
        } else if JournalRecord.isVersion1(record) {
            try self.init(version1: record)
        } else {
            try self.init(fieldsOf: record)
        }
        guard isFitForRequests else { throw .malformed }
    }

    private init(fieldsOf record: [UInt8]) throws(JournalFault) {
        var reader = try JournalReader(record)
        self.init(user: try reader.takeText(Tag.user).map { UserName($0) }, state: try reader.takeText(Tag.state))
        while let (name, value) = try reader.takePair(Tag.claim) {
            guard let name = String(validating: name, as: UTF8.self),
                let value = String(validating: value, as: UTF8.self)
            else { throw .malformed }
            claims.append(Claim(name: name, value: value))
        }
        try reader.expectEnd()
        if isAnonymous { throw .malformed }
    }

    /// Whether the names can be written into a request as they are; values are encoded then.
    private var isFitForRequests: Bool {
        (user?.text.utf8.count ?? 0) <= UserName.maxBytes && (state?.utf8.count ?? 0) <= SessionReply.maxStateBytes
            && claims.allSatisfy { HTTPField.isToken($0.name) && $0.name.utf8.starts(with: "claim".utf8) }
    }
}
