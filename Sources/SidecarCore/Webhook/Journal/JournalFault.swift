/// Why a record of the outbox cannot be read.
public enum JournalFault: Error, Sendable, Equatable {
    /// It was written by a later version.
    case unknownVersion(UInt8)
    /// Something in it is missing, superfluous or impossible.
    case malformed

    /// What is wrong, worded as the end of a sentence.
    public var words: String {
        switch self {
        case .unknownVersion(let version): "its version \(version) is unknown"
        case .malformed: "it is damaged"
        }
    }
}
