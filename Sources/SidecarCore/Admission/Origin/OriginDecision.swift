/// Whether a page may open a socket.
public enum OriginDecision: Sendable, Equatable {
    /// The handshake may go on.
    case allowed
    /// The response is 403, before the app is asked.
    case refused(OriginRefusal)
}

/// Why a page may not open a socket.
public enum OriginRefusal: Sendable, Equatable, CaseIterable {
    /// There is no `Origin`, and `ALLOW_MISSING_ORIGIN` is off.
    case missing
    /// There are several `Origin` fields, or several origins in one.
    case repeated
    /// The field is no origin as browsers write it.
    case malformed
    /// The origin is `null`, which any page can make itself, and the list does not have it.
    case null
    /// The page came over plain HTTP from the host that is asked over HTTPS, so anybody on the network path could have
    /// written it.
    case downgrade
    /// The list has no such origin.
    case notListed
    /// There is no `Origin`, but the browser says that the request comes from another site or origin.
    case crossSite

    /// One plain sentence for the response and the log; it repeats nothing that the client sent.
    public var sentence: String {
        switch self {
        case .missing: "The request has no Origin."
        case .repeated: "The request has more than one Origin."
        case .malformed: "The Origin is not of the form scheme://host or scheme://host:port."
        case .null: "The Origin is null, which is not allowed here."
        case .downgrade: "The Origin is an http page, but the host was requested over https."
        case .notListed: "The Origin is not allowed here."
        case .crossSite: "The request comes from a page of another origin, without an allowed Origin."
        }
    }
}
