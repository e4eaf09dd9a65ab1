import HTTP1
import SidecarCore

/// What a session keeps of its handshake until the app has accepted it. It is a reference, so that the session is smaller
/// after that.
final class SessionHandshake {
    let request: HTTPRequestHead
    let client: ClientIdentity
    /// The connection's record for the outbox and for other nodes; empty without both.
    let record: [UInt8]

    init(request: HTTPRequestHead, client: ClientIdentity, record: [UInt8]) {
        self.request = request
        self.client = client
        self.record = record
    }
}
