/// A page of a list that is ordered by id.
public struct ConnectionPage: Sendable, Equatable {
    /// The connections.
    public var connections: [ConnectionInfo]
    /// The next page starts after this id; nil on the last page.
    public var next: String?

    /// A page.
    public init(connections: [ConnectionInfo], next: String?) {
        self.connections = connections
        self.next = next
    }
}
