/// A stream from which publications are read (`INGEST_URL`).
public struct IngestURL: Sendable, Equatable, CustomStringConvertible {
    /// The stream that is read unless the URL names another.
    public static let defaultStream = "sidesocket:publish"

    /// Where the stream is.
    public let engine: EngineURL
    /// The stream's key: 1 to 200 bytes of printable ASCII without spaces.
    public let stream: String

    /// The stream `stream` of `engine`.
    public init(engine: EngineURL, stream: String = Self.defaultStream) {
        self.engine = engine
        self.stream = stream
    }

    /// Scheme, hosts, path and stream, without user, password and files: fit for a log.
    public var description: String { "\(engine)?\(parameter)" }

    /// The URL as it is written in a setting, with its secrets.
    var text: String {
        let text = engine.text
        return "\(text)\(text.contains("?") ? "&" : "?")\(parameter)"
    }

    private var parameter: String { "stream=\(EngineURLSyntax.encoded(stream, keeping: ":"))" }
}
