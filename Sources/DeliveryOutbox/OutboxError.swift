/// Why an outbox cannot be opened.
public enum OutboxError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Another process, or another outbox of this one, holds the lock of the directory.
    case inUse(directory: String)
    /// The directory or the file in it cannot be used; the reason is one plain sentence.
    case unusable(directory: String, reason: String)

    /// One plain sentence for the log.
    public var description: String {
        switch self {
        case .inUse(let directory):
            "The outbox directory \(directory) is in use by another process."
        case .unusable(let directory, let reason):
            "The outbox directory \(directory) cannot be used: \(reason)"
        }
    }
}
