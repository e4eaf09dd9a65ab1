import DeliveryOutbox
import NIOCore
import SidecarCore

extension BridgeSession {
    /// What of it is on disk; nil without `OUTBOX_DIR`.
    var journal: SessionJournal? { context.outbox.map { SessionJournal(outbox: $0, id: id) } }

    /// Notes who the client is; one that the app has not accepted is not on disk yet.
    func journalIdentity() {
        if machine.wasAccepted { journal?.identityChanged(identity.facts) }
    }

    /// Goes on when what the next event depends on is on disk.
    ///
    /// - Parameter now: The time, if the caller knows it.
    func afterJournal(at now: NIODeadline? = nil, _ body: @escaping (_ now: NIODeadline) -> Void) {
        guard let journal else { return body(now ?? .now()) }
        journal.afterWriting(on: context.eventLoop, at: now, body)
    }

    /// Drops the messages that wait; on disk they count as answered.
    func discardQueue() -> Int {
        let sequences = machine.queuedSequences
        let dropped = machine.discardQueue()
        journal?.answered(sequences)
        return dropped
    }
}
