import DeliveryOutbox
import NIOCore
import SidecarCore

/// What is on disk of one session, to survive a crash (`OUTBOX_DIR`).
struct SessionJournal {
    let outbox: DeliveryOutbox
    /// The connection's id.
    let id: String

    /// The app has accepted the connection: from now on it is owed a close event.
    ///
    /// - Parameters:
    ///   - record: The facts for later requests about the connection.
    ///   - identity: Who the client is, after the app's reply to `open`.
    func opened(_ record: [UInt8], identity: ConnectionIdentity) {
        outbox.opened(id: id, context: record, identity: identity.record, at: WallClock.unixMilliseconds())
    }

    func identityChanged(_ identity: ConnectionIdentity) {
        outbox.identityChanged(id: id, identity: identity.record)
    }

    func accepted(
        _ format: MessageFormat,
        _ payload: ByteBuffer,
        label: MessageLabel?,
        sequence: UInt64,
        at time: Int64
    ) {
        outbox.accepted(
            id: id,
            sequence: sequence,
            format: format.recordNumber,
            label: label?.record ?? [],
            payload: Array(payload.readableBytesView),
            at: time
        )
    }

    func closing(_ sequence: UInt64, _ report: CloseReport, _ time: Int64) {
        outbox.closing(id: id, sequence: sequence, report: report.record, at: time)
    }

    /// Events are done: delivered, finally failed, or dropped.
    func answered(_ sequences: some Sequence<UInt64>) {
        for sequence in sequences { outbox.answered(id: id, sequence: sequence) }
    }

    /// No events of the connection are owed any more.
    func finished() { outbox.finished(id: id) }

    /// Continues when everything so far is on disk. Otherwise, after a crash, another event could get the id of one
    /// that the app has already seen.
    ///
    /// - Parameter now: The time, if the caller has it.
    func afterWriting(
        on eventLoop: any EventLoop,
        at now: NIODeadline?,
        _ body: @escaping (_ now: NIODeadline) -> Void
    ) {
        guard !outbox.isWritten else { return body(now ?? .now()) }
        let bound = NIOLoopBound(body, eventLoop: eventLoop)
        outbox.afterWriting { eventLoop.execute { bound.value(.now()) } }
    }
}
