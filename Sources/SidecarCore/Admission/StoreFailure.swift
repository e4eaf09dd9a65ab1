/// Why a store that nodes may share could not be read or changed.
public enum StoreFailure: Error, Sendable, Equatable {
    /// It cannot be reached; the sentence says why.
    case unavailable(String)
}
