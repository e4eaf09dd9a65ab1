import DeliveryOutbox
import NIOCore
import SidecarCore

extension BridgeSession {
    /// The session's journal on disk; nil without `OUTBOX_DIR`.
    ///
    /// Of a lost node's connection, the engine keeps what is owed.
    var journal: SessionJournal? {
        guard let outbox = context.outbox, registration?.whenTold == nil else { return nil }
        return SessionJournal(outbox: outbox, id: id)
    }

    /// Records who the client is; a client that the app has not accepted is not on disk yet.
    func journalIdentity() {
        if machine.wasAccepted { journal?.identityChanged(identity.facts) }
    }

    /// Continues when what the next event depends on is on disk.
    ///
    /// - Parameter now: The time, if the caller has it.
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
