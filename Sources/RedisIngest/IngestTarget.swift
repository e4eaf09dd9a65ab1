public import SidecarCore

/// Who publishes what a stream's entries say.
public protocol IngestTarget: Sendable {
    /// Publishes a message, and returns when it is stored or why it is not.
    ///
    /// Calls for one channel come one after the other, so that their order is kept; those for different channels may
    /// run at the same time. An answer has to come within a bounded time.
    ///
    /// - Parameters:
    ///   - id: The connection that does not get it.
    ///   - idempotencyKey: Calls with the same key for the same channel are the same publication.
    func publish(_ publication: Publication, excluding id: String?, idempotencyKey: String) async
        -> Result<Void, ChannelFailure>
}
