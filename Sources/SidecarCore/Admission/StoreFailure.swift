/// Why something that nodes may share could not be changed or asked.
public enum StoreFailure: Error, Sendable, Equatable {
    /// What it is kept in cannot be reached; the sentence says why.
    case unavailable(String)
}
