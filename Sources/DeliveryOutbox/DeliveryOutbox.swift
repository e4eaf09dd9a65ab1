internal import Dispatch
internal import Synchronization

/// A record on disk of what the sidecar still owes to its app, for the next process should this one be killed.
///
/// It holds the open connections, the messages that were accepted and not answered, and the close events that were not
/// delivered. Callers only change a table in memory under a short lock; what cancels out there never reaches the disk.
/// At most 2 ms later a queue of its own writes the rest, in one transaction. So a process that is killed loses the
/// records of its last 2 ms, and an event may be delivered twice, with the same id. Who must not lose a record waits
/// for ``afterWriting(_:)``.
///
/// An id stands for one connection, which is opened once. Its sequences ascend. Records about a connection that was not
/// opened, or is finished, are ignored.
public final class DeliveryOutbox: Sendable {
    private let queue = DispatchQueue(label: "sidesocket.outbox")
    private let limits: OutboxLimits
    private let onFault: @Sendable (String) -> Void
    private let journal: Mutex<Journal>
    /// Taken before `journal`, never after it.
    private let disk: Mutex<Disk>
    private let faultCount: Atomic<Int>

    /// What callers change.
    private struct Journal: Sendable {
        var batch = PendingBatch()
        var recovered: [RecoveredConnection]
        /// Connections of earlier processes that are not finished.
        var recoveredIDs: Set<String>
        var nextKey: Int64
        /// Those who wait until what is recorded now has been written.
        var waiters: [@Sendable () -> Void] = []
        /// True while a batch is on its way to the disk.
        var isWriting = false
        /// True since a write failed, until one succeeds.
        var isFailing = false
        /// Bytes of messages that are being written.
        var bytesBeingWritten = 0
        /// True from the first record until a write leaves none; a write is then on its way.
        var isScheduled = false
        var isClosed = false
        var dropped = 0
    }

    /// What the writing thread changes.
    private struct Disk {
        /// Nil once closed; it holds the lock of the directory, too.
        var writer: OutboxWriter?
        /// An empty batch that keeps its memory for the next round.
        var spare = PendingBatch()
        var failuresInARow = 0
        var report: FaultReport
    }

    /// Opens the outbox of a directory, which is made if it is missing.
    ///
    /// - Parameters:
    ///   - directory: Where `outbox.sqlite` and `lock` are.
    ///   - onFault: Gets one plain sentence for the log: now, from ``recover()``, or later from any thread but never
    ///     from within a record. It may call the outbox.
    public convenience init(
        directory: String,
        onFault: @escaping @Sendable (String) -> Void
    ) throws(OutboxError) {
        try self.init(directory: directory, limits: OutboxLimits(), onFault: onFault)
    }

    /// Opens an outbox with other limits, for tests.
    init(
        directory: String,
        limits: OutboxLimits,
        onFault: @escaping @Sendable (String) -> Void
    ) throws(OutboxError) {
        let location = try OutboxDirectory(directory)
        let (database, found, faults) = try OutboxFile.open(location, limits: limits, onFault: onFault)
        let writer: OutboxWriter
        do {
            writer = try OutboxWriter(database)
        } catch {
            throw location.unusable("outbox.sqlite cannot be used: \(error.message)")
        }
        if found.skipped > 0 {
            let rows = found.skipped == 1 ? "A row" : "\(found.skipped) rows"
            onFault("\(rows) of \(location.file) cannot be right and not delivered: \(found.reason).")
        }
        self.limits = limits
        self.onFault = onFault
        journal = Mutex(
            Journal(
                recovered: found.connections,
                recoveredIDs: Set(found.connections.map(\.id)),
                nextKey: found.nextKey
            )
        )
        disk = Mutex(Disk(writer: writer, report: FaultReport(interval: limits.reportNanoseconds)))
        faultCount = Atomic(faults + found.skipped)
    }

    /// What an earlier process left: connections in the order of their opening, their messages by sequence.
    ///
    /// It is handed out once, so that its memory can be freed; a second call gets nothing. On disk everything stays
    /// until it is answered or finished under the same id, and need not be opened again.
    public func recover() -> [RecoveredConnection] {
        journal.withLock { journal in
            var recovered: [RecoveredConnection] = []
            swap(&recovered, &journal.recovered)
            return recovered
        }
    }

    // MARK: - Journal

    /// A connection was accepted.
    public func opened(id: String, context: [UInt8], identity: [UInt8], at: Int64) {
        record { (journal, limits) in
            guard !id.isEmpty, id.utf8.count <= limits.idBytes, context.count <= limits.fieldBytes,
                identity.count <= limits.fieldBytes
            else {
                journal.dropped += 1
                return
            }
            // One that was recovered is on disk already.
            guard !journal.recoveredIDs.contains(id) else { return }
            let opening = PendingConnection.Opening(
                key: journal.nextKey,
                context: context,
                identity: identity,
                at: max(0, at)
            )
            journal.nextKey += 1
            journal.batch.opened(id: id, opening)
        }
    }

    /// The app has given the connection another identity.
    public func identityChanged(id: String, identity: [UInt8]) {
        record { (journal, limits) in
            if identity.count > limits.fieldBytes {
                journal.dropped += 1
            } else {
                journal.batch.identityChanged(id: id, identity: identity)
            }
        }
    }

    /// A message came in and is now owed to the app.
    ///
    /// - Parameters:
    ///   - format: A number that says what kind of data it is.
    ///   - label: What belongs to it besides its payload; empty for nothing.
    public func accepted(
        id: String,
        sequence: UInt64,
        format: UInt8,
        label: [UInt8] = [],
        payload: [UInt8],
        at: Int64
    ) {
        let message = PendingMessages.Slot(
            id: id,
            sequence: sequence,
            format: format,
            label: label,
            payload: payload,
            at: max(0, at)
        )
        record { (journal, limits) in
            guard message.cost <= limits.bufferedBytes, message.payload.count <= limits.fieldBytes,
                message.label.count <= limits.fieldBytes
            else {
                journal.dropped += 1
                return journal.batch.counted(id: id)
            }
            journal.batch.accepted(message)
            // Only while the disk is full or slow.
            while journal.batch.messages.bytes + journal.bytesBeingWritten > limits.bufferedBytes,
                journal.batch.dropOldest()
            {
                journal.dropped += 1
            }
        }
    }

    /// An event is done: delivered, or finally failed.
    public func answered(id: String, sequence: UInt64) {
        // The bytes are freed here, outside the lock.
        _ = record { (journal, _) in journal.batch.answered(id: id, sequence: sequence) }
    }

    /// The connection has ended, and its close event is now owed to the app.
    public func closing(id: String, sequence: UInt64, report: [UInt8], at: Int64) {
        record { (journal, limits) in
            if report.count > limits.fieldBytes {
                journal.dropped += 1
            } else {
                journal.batch.closing(id: id, RecoveredClose(sequence: sequence, report: report, at: max(0, at)))
            }
        }
    }

    /// Nothing is owed any more: all of the connection is forgotten.
    public func finished(id: String) {
        record { (journal, _) in
            if !journal.recoveredIDs.isEmpty { journal.recoveredIDs.remove(id) }
            journal.batch.finished(id: id)
        }
    }

    @discardableResult
    @inline(__always)
    private func record<Result: Sendable>(_ change: (inout Journal, OutboxLimits) -> Result) -> Result? {
        let (result, isFirst): (Result?, Bool) = journal.withLock { journal in
            guard !journal.isClosed else { return (nil, false) }
            let result = change(&journal, limits)
            let isFirst = !journal.isScheduled
            journal.isScheduled = true
            return (result, isFirst)
        }
        if isFirst { schedule(milliseconds: limits.flushMilliseconds) }
        return result
    }

    // MARK: - Writing

    /// Lets writing fail as on a full disk, for tests.
    func allowWriting(_ allowed: Bool) {
        disk.withLock { $0.writer?.allowsWriting = allowed }
    }

    /// True when every record so far is on disk, or when nothing can be written: a full disk holds nobody up.
    public var isWritten: Bool {
        journal.withLock { $0.isFailing || $0.batch.isEmpty && !$0.isWriting }
    }

    /// True since a write failed, as on a full disk, until one succeeds or nothing is left to be written.
    public var isFailing: Bool { journal.withLock { $0.isFailing } }

    /// Calls back, from another thread, when all records so far have been written, or could not be.
    public func afterWriting(_ body: @escaping @Sendable () -> Void) {
        let isAlone = journal.withLock { journal in
            guard !journal.isClosed else { return true }
            journal.waiters.append(body)
            return false
        }
        if isAlone { return body() }
        record { _, _ in }  // a write is on its way then
    }

    /// Waits until all records so far are on disk; for tests.
    ///
    /// - Returns: False if they cannot be written now, and are kept for later.
    @discardableResult
    func flush() -> Bool {
        write(isLast: false) == 0
    }

    /// Writes all records and gives the directory free; later records are ignored.
    ///
    /// - Returns: False if the last records could not be written and are lost.
    @discardableResult
    public func close() -> Bool {
        write(isLast: true) == 0
    }

    /// Bytes of messages that are not on disk yet, 128 per message included.
    public var bytesBuffered: Int {
        journal.withLock { $0.batch.messages.bytes + $0.bytesBeingWritten }
    }

    /// Everything that went wrong: files moved aside, rows skipped or refused, writes that failed; for tests.
    var faults: Int { faultCount.load(ordering: .relaxed) }

    /// Records that were not kept: the oldest messages beyond 64 MiB, and what is too large; for tests.
    var droppedRecords: Int {
        journal.withLock { $0.dropped }
    }

    private func schedule(milliseconds: Int) {
        // It holds the outbox: one that is let go without `close()` still writes its last records.
        queue.asyncAfter(deadline: .now() + .milliseconds(milliseconds)) { self.turn() }
    }

    /// One scheduled write, and the next one if there is more to do.
    private func turn() {
        let failures = write(isLast: false)
        let pause = failures == 0 ? 0 : limits.flushMilliseconds << min(failures, 16)
        let goesOn = journal.withLock { journal in
            journal.isScheduled = !(journal.batch.isEmpty && journal.waiters.isEmpty) && !journal.isClosed
            return journal.isScheduled
        }
        if goesOn {
            schedule(milliseconds: max(limits.flushMilliseconds, min(pause, limits.retryMilliseconds)))
        }
    }

    /// Writes what there is, and returns how many writes have failed in a row.
    private func write(isLast: Bool) -> Int {
        var waiters: [@Sendable () -> Void] = []
        let (failures, sentence): (Int, String?) = disk.withLock { disk in
            guard let writer = disk.writer else { return (0, nil) }
            let refused = writer.refusedRows
            let failure = attempt(&disk, writer, &waiters, isLast: isLast)
            disk.failuresInARow = failure == nil ? 0 : disk.failuresInARow + 1
            if isLast { disk.writer = nil }
            let newFaults = (failure == nil ? 0 : 1) + writer.refusedRows - refused
            faultCount.add(newFaults, ordering: .relaxed)
            let sentence = disk.report.sentence(
                failure: failure?.message,
                refusedRows: writer.refusedRows,
                droppedRecords: journal.withLock { $0.dropped },
                now: DispatchTime.now().uptimeNanoseconds,
                isLast: isLast
            )
            return (disk.failuresInARow, sentence)
        }
        // Outside the lock, so that it may call the outbox.
        if let sentence { onFault(sentence) }
        for waiter in waiters { waiter() }
        return failures
    }

    private func attempt(
        _ disk: inout Disk,
        _ writer: OutboxWriter,
        _ waiters: inout [@Sendable () -> Void],
        isLast: Bool
    ) -> SQLiteFailure? {
        var batch = PendingBatch()
        swap(&batch, &disk.spare)
        journal.withLock { journal in
            swap(&batch, &journal.batch)
            swap(&waiters, &journal.waiters)
            journal.isWriting = true
            journal.bytesBeingWritten = batch.messages.bytes
            if isLast { journal.isClosed = true }
        }
        var failure: SQLiteFailure?
        if !batch.isEmpty {
            do { try writer.write(batch) } catch let error { failure = error }
        }
        if failure != nil {
            journal.withLock { journal in
                journal.bytesBeingWritten = 0
                journal.isWriting = false
                journal.isFailing = true
                batch.append(journal.batch)
                journal.batch = batch
            }
        } else {
            journal.withLock { journal in
                journal.bytesBeingWritten = 0
                journal.isWriting = false
                journal.isFailing = false
            }
            batch.clear()
            disk.spare = batch
        }
        return failure
    }
}
