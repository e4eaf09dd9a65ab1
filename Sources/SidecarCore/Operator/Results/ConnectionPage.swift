/// A page of a list that is ordered by id.
public struct ConnectionPage: Codable, Sendable, Equatable {
    /// The connections.
    public var connections: [ConnectionInfo]
    /// The next page starts after this id; nil on the last page.
    public var next: String?
    /// The names of nodes that did not answer.
    public var missing: [String]

    /// A page.
    public init(connections: [ConnectionInfo], next: String?, missing: [String] = []) {
        self.missing = missing
        self.connections = connections
        self.next = next
    }
}
