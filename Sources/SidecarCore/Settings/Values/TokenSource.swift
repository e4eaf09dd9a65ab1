/// Where a client's token may be (`JWT_SOURCES`).
public enum TokenSource: Sendable, Equatable, CustomStringConvertible {
    /// `sidesocket.bearer.TOKEN` among the offered subprotocols: what a browser's WebSocket can send.
    case subprotocol
    /// `Authorization: Bearer TOKEN`.
    case authorization
    /// A cookie of this name.
    case cookie(String)
    /// A query parameter of this name; it appears in the logs of proxies.
    case query(String)
    /// The first message.
    case message

    /// The prefix of a subprotocol, or a message, that carries a token.
    public static let bearerPrefix = "sidesocket.bearer."

    /// As written in the setting.
    public var description: String {
        switch self {
        case .subprotocol: "subprotocol"
        case .authorization: "authorization"
        case .cookie(let name): "cookie:\(name)"
        case .query(let name): "query:\(name)"
        case .message: "message"
        }
    }
}
