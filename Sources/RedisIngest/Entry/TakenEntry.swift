import NIOCore
import SidecarCore

/// An entry that this node has read.
struct TakenEntry: Sendable, Equatable {
    /// What came of reading it.
    enum Content: Sendable, Equatable {
        /// Something to publish.
        case message(IngestEntry)
        /// Nothing that can be published.
        case bad(IngestFault)
        /// It was removed from the stream after a reader had taken it.
        case removed
    }

    let id: EntryID
    let content: Content
    /// How old it was when it was read, by the server's clock; nil when its id is no time.
    let age: TimeAmount?
}

/// An entry on its way to the target.
struct IngestItem: Sendable, Equatable {
    /// What a waiting item costs beyond its message, in bytes.
    private static let overhead = 500

    let id: EntryID
    let entry: IngestEntry
    let age: TimeAmount?
    /// When it was read.
    let takenAt: NIODeadline

    var channel: String { entry.publication.channel.text }
    /// What it counts for, in bytes.
    var bytes: Int { entry.publication.payload.readableBytes + Self.overhead }
}
