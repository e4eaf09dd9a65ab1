public import NIOCore

/// How long somebody is banned, and why.
public struct BanTerms: Sendable, Equatable {
    /// The longest reason, in bytes.
    public static let maxReasonBytes = 256

    /// Nil when none was given.
    public private(set) var ttl: TimeAmount?
    /// Nil when none was given.
    public private(set) var reason: String?

    /// Reads the parameters of the query and the members of the body, a JSON object or nothing.
    ///
    /// - Throws: ``BodyFault`` for whatever is not understood, so that no other ban is made than the one that was
    ///   meant.
    public init(query: [(name: String, value: String)], body: ByteBuffer) throws(BodyFault) {
        for (name, value) in query { try take(name, value) }
        let bytes = Array(body.readableBytesView)
        guard !bytes.allSatisfy({ [0x20, 0x09, 0x0A, 0x0D].contains($0) }) else { return }
        guard let members = JSONValue(bytes)?.object else {
            throw BodyFault(sentence: "The body of a ban must be empty or a JSON object with ttl and reason.")
        }
        for (name, value) in members {
            guard name == "ttl" || name == "reason" else { throw Self.unknown }
            guard let text = value.string else { throw BodyFault(sentence: "ttl and reason must be JSON strings.") }
            try take(name, text)
        }
    }

    private static let unknown = BodyFault(sentence: "A ban takes only ttl and reason.")

    private mutating func take(_ name: String, _ value: String) throws(BodyFault) {
        switch name {
        case "ttl":
            guard ttl == nil else { throw BodyFault(sentence: "ttl is given twice.") }
            ttl = OperatorSyntax.banDuration(value)
            guard ttl != nil else { throw BodyFault(sentence: "ttl must be a duration from 1s to 720h.") }
        case "reason":
            guard reason == nil else { throw BodyFault(sentence: "reason is given twice.") }
            guard value.utf8.count <= Self.maxReasonBytes else {
                throw BodyFault(sentence: "reason is longer than \(Self.maxReasonBytes) bytes.")
            }
            reason = value
        default: throw Self.unknown
        }
    }
}
