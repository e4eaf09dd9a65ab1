internal import HTTPTypes
internal import Hummingbird
internal import SidecarCore

/// What the head of a request to publish says.
struct PublishOptions: Sendable {
    private static let maxKeyBytes = 256

    /// The value of `Idempotency-Key`.
    let key: String?
    /// The value of `Sidesocket-Exclude`.
    let excluded: String?
    /// The value of `Sidesocket-Event`.
    let event: String?
    /// Whether the answer waits for the kernel (`?wait=written`).
    let waits: Bool

    init(_ request: Request) throws {
        let wait = request.uri.queryParameters["wait"]
        guard wait == nil || wait == "written" else { throw APIFault.badRequest("wait can only be written.") }
        waits = wait != nil
        excluded = request.values(of: "sidesocket-exclude").first
        event = request.values(of: "sidesocket-event").first
        if let event, !OperatorSyntax.isEventType(event) {
            throw APIFault.badRequest("Sidesocket-Event must be 1 to 128 printable characters.")
        }
        let keys = request.values(of: "idempotency-key")
        key = keys.first
        guard keys.count <= 1, (1...Self.maxKeyBytes).contains(key?.utf8.count ?? 1) else {
            throw APIFault.badRequest("An Idempotency-Key must be 1 to 256 bytes.")
        }
    }
}

extension Request {
    /// The values of a field; its name in lower case.
    func values(of name: String) -> [String] {
        self.headers.filter { $0.name.canonicalName == name }.map(\.value)
    }
}
