import NIOCore

/// Waits for the kernel to take a publication on the connections of one event loop (`?wait=written`).
///
/// It reports once: when it is settled for every connection, or after ``patience``; messages that are still on their
/// way then count as queued.
final class WriteReceipt {
    /// How long it waits for slow subscribers.
    static let patience = TimeAmount.seconds(10)

    private var tally: PublicationTally?
    private var counts: PublicationTally.Counts?
    private var awaited = 0
    private var lost = 0
    private var timeout: Scheduled<Void>?

    init(for tally: PublicationTally) {
        self.tally = tally
    }

    /// One more connection has to write the message.
    func begin() { awaited += 1 }

    /// A connection has written the message, has dropped it, or has ended.
    func settle(wasWritten: Bool) {
        awaited -= 1
        if !wasWritten { lost += 1 }
        if awaited == 0 { reportOnce() }
    }

    /// Reports these counts, reduced by what was lost, as soon as all connections are settled.
    func report(_ counts: PublicationTally.Counts, on eventLoop: any EventLoop) {
        self.counts = counts
        if awaited == 0 { return reportOnce() }
        timeout = eventLoop.assumeIsolated().scheduleTask(in: Self.patience) { self.reportOnce() }
    }

    private func reportOnce() {
        guard var counts, let tally = tally.take() else { return }
        timeout?.cancel()
        timeout = nil
        counts.queued -= lost
        counts.dropped += lost
        tally.add(counts)
    }
}

extension [WriteReceipt] {
    /// Settles those of a message that was not written.
    func settleAsDropped() {
        for receipt in self { receipt.settle(wasWritten: false) }
    }
}
