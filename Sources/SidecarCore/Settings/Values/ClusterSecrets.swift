/// What the nodes of a cluster authenticate and encrypt with (`CLUSTER_SECRET`).
public struct ClusterSecrets: Sendable, Equatable, CustomStringConvertible {
    /// The length of one secret, in bytes.
    static let lengths = 16...1024
    /// The most secrets at once; a rotation needs two.
    static let mostSecrets = 16

    /// The secrets, at least one: the first is used, what was made with any of them is accepted.
    public let secrets: [String]

    /// Reads one or more secrets separated by spaces; nil when there is none, or one has too few or too many bytes.
    public init?(_ text: String) {
        guard let read = try? Self(parsing: text) else { return nil }
        self = read
    }

    /// Reads one or more secrets separated by spaces.
    init(parsing text: String) throws(ValueProblem) {
        let items = text.split(whereSeparator: \.isWhitespace)
        guard !items.isEmpty else { throw ValueProblem("has no secret") }
        guard items.count <= Self.mostSecrets else { throw ValueProblem("has more than \(Self.mostSecrets) secrets") }
        for item in items {
            guard item.utf8.count >= Self.lengths.lowerBound else {
                throw ValueProblem("has a secret of less than \(Self.lengths.lowerBound) bytes")
            }
            guard item.utf8.count <= Self.lengths.upperBound else {
                throw ValueProblem("has a secret of more than \(Self.lengths.upperBound) bytes")
            }
        }
        secrets = items.map(String.init)
    }

    /// Words in place of the secrets: fit for a log.
    public var description: String { FaultText.redacted }
}
