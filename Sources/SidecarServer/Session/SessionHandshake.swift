import HTTP1
import SidecarCore

/// What a session keeps of its handshake until the app has accepted it.
struct SessionHandshake {
    let request: HTTPRequestHead
    let client: ClientIdentity
    /// The connection's record for the outbox and for other nodes; empty without both.
    let record: [UInt8]
}
