import SidecarCore

/// The event stream that a returning client continues.
struct ContinuedStream {
    /// Where it goes on; nil when the client's `Last-Event-ID` is not one of ours.
    let cursor: StreamCursor?
    /// True until the client has got what it has not seen.
    var awaitsReplay = true

    init(lastEventID: String) { cursor = StreamCursor(lastEventID) }
}
