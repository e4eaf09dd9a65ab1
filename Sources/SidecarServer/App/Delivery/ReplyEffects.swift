import SidecarCore

/// What came of a reply.
struct ReplyEffects {
    /// Why the reply could not be applied, although it is well-formed.
    var fault: DeliveryFailure?
    /// Messages sent because of it, for the log.
    var sent = 0
    /// Messages published because of it, for the log.
    var published = 0
}
