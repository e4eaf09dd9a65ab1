/// Which versions of the PROXY protocol a listener accepts. Once it is on, every connection must begin with a header.
public enum ProxyProtocolMode: String, Sendable, Equatable, CaseIterable {
    /// The text line.
    case v1
    /// The binary header.
    case v2
    /// Either.
    case any
}
