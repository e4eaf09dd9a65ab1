/// The URL that all events are sent to.
public struct WebhookTarget: Sendable, Equatable, CustomStringConvertible {
    /// The host to call; nil when it is the app itself.
    public var origin: AppOrigin?
    /// The request target in origin form: path and query.
    public var path: String

    /// A target on `origin`, or on the app when that is nil.
    public init(origin: AppOrigin?, path: String) {
        self.origin = origin
        self.path = path
    }

    /// The target as it is written in a setting.
    public var description: String {
        "\(origin?.description ?? "")\(path)"
    }
}
