import DeliveryOutbox
import NIOCore
import SidecarCore

/// What of a session is on disk, so that it survives a crash (`OUTBOX_DIR`).
extension BridgeSession {
    /// Notes the connection, and who it is as the app has it from its answer to `open`: from now on the app is owed an
    /// event that says so.
    func journalOpened(by reply: WebhookReply?) {
        guard let outbox = shard.state.outbox else { return }
        outbox.opened(
            id: id,
            head: Array(prefix.bytes.readableBytesView),
            identity: identityBytes(after: reply),
            at: WallClock.unixMilliseconds()
        )
    }

    /// Notes who the client is; one that the app has not accepted is not on disk yet.
    func journalIdentity() {
        guard let outbox = shard.state.outbox, machine.wasAccepted else { return }
        outbox.identityChanged(id: id, identity: identity.map { Array($0.readableBytesView) } ?? [])
    }

    func journalAccepted(_ format: MessageFormat, _ payload: ByteBuffer, at time: Int64) {
        guard let outbox = shard.state.outbox, machine.isRunning else { return }
        outbox.accepted(
            id: id,
            sequence: machine.nextSequence,
            isText: format.isText,
            payload: Array(payload.readableBytesView),
            at: time
        )
    }

    func journalClosing(_ sequence: UInt64, _ report: CloseReport, _ time: Int64) {
        guard let outbox = shard.state.outbox else { return }
        outbox.closing(id: id, sequence: sequence, body: Array(report.json.readableBytesView), at: time)
    }

    /// Goes on when what the event depends on is on disk: had the app seen an event that is forgotten after a crash,
    /// another one would get its id.
    ///
    /// - Parameter now: The time, if the caller knows it.
    func afterJournal(at now: NIODeadline? = nil, _ body: @escaping (_ now: NIODeadline) -> Void) {
        guard let outbox = shard.state.outbox, !outbox.isWritten else { return body(now ?? .now()) }
        let eventLoop = shard.eventLoop
        let bound = NIOLoopBound(body, eventLoop: eventLoop)
        outbox.afterWriting { eventLoop.execute { bound.value(.now()) } }
    }

    /// Drops the messages that wait; on disk they count as answered.
    func discardQueue() -> Int {
        let sequences = machine.queuedSequences
        let dropped = machine.discardQueue()
        if let outbox = shard.state.outbox {
            for sequence in sequences { outbox.answered(id: id, sequence: sequence) }
        }
        return dropped
    }
}
