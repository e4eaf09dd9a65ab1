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
