import NIOCore
import NIOSSL
import SidecarCore
import Synchronization

/// The connections of one event loop for which bytes wait, and what is done when the total over the process is
/// exceeded.
///
/// Only slow clients are in it: a client that reads everything it is sent holds nothing.
final class SendBuffers {
    /// The event loops, each of which has to check its own connections, since any of them may hold the most.
    final class Loops: Sendable {
        private let wakers = Mutex<[@Sendable () -> Void]>([])

        fileprivate func add(_ wake: @escaping @Sendable () -> Void) { wakers.withLock { $0.append(wake) } }
        fileprivate func wakeAll() { for wake in wakers.withLock({ $0 }) { wake() } }
    }

    /// A connection that has held something for this long has stopped reading, or nearly.
    private static let patience = TimeAmount.seconds(1)
    /// The time until the next check after one that could not help.
    private static let pause = TimeAmount.milliseconds(20)

    /// What a connection may hold, as the settings say now.
    var limits: SendLimits
    let metrics: ServerMetrics
    private let loops: Loops
    private let budget: SendBudget
    private let eventLoop: any EventLoop
    /// With the time since when bytes have waited without a break: a client that reads empties its buffer now and then.
    private var holders: [ObjectIdentifier: (holder: any SendBufferHolder, since: NIODeadline)] = [:]
    /// When no connection here held more than its share although the total was exceeded.
    private var helplessAt: NIODeadline?
    private var isMakingRoom = false
    private var willLook = false

    init(budget: SendBudget, loops: Loops, limits: SendLimits, metrics: ServerMetrics, eventLoop: any EventLoop) {
        self.budget = budget
        self.limits = limits
        self.metrics = metrics
        self.loops = loops
        self.eventLoop = eventLoop
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        loops.add { eventLoop.execute { bound.value.makeRoom() } }
    }

    /// Records that the bytes held for a connection have changed.
    func changed(_ holder: any SendBufferHolder, from old: Int, to new: Int) {
        guard old != new else { return }
        budget.change(from: old, to: new)
        if new == 0 {
            holders[ObjectIdentifier(holder)] = nil
        } else if old == 0 {
            holders[ObjectIdentifier(holder)] = (holder, .now())
        }
        if new > old, budget.isExceeded { makeRoom() }
    }

    /// What one connection may hold that is about to get `byteCount` more.
    func allowance(upTo most: Int, adding byteCount: Int) -> Int {
        budget.allowance(upTo: most, adding: byteCount)
    }

    /// Makes room if that may help; a client that is closed for it may be the one that has just got something.
    private func makeRoom() {
        guard !isMakingRoom, !holders.isEmpty, budget.isExceeded else { return }
        if let helplessAt, NIODeadline.now() - helplessAt < Self.pause { return lookLater() }
        isMakingRoom = true
        treatLargestAsSlow()
        isMakingRoom = false
        helplessAt = budget.isExceeded ? NIODeadline.now() : nil
        if helplessAt != nil { loops.wakeAll() }
    }

    private func lookLater() {
        guard !willLook else { return }
        willLook = true
        eventLoop.assumeIsolated().scheduleTask(in: Self.pause) {
            self.willLook = false
            self.makeRoom()
        }
    }

    /// Treats the connections that hold the most as slow, until there is room again or none here holds more than its
    /// share. Connections that have held bytes for a while come first, so that a large download in progress survives.
    private func treatLargestAsSlow() {
        // Some have taken more than was last recorded.
        for (holder, _) in Array(holders.values) { holder.accountUnsent(holder.unsentBytes) }
        guard budget.isExceeded else { return }
        let share = budget.share
        let overdue = NIODeadline.now() - Self.patience
        let all = holders.values.map { (holder: $0.holder, bytes: $0.holder.unsentBytes, isStuck: $0.since <= overdue) }
            .sorted { $0.bytes > $1.bytes }
        // A quarter of the total is left for clients that read.
        let rest = share / 4 * 3
        for (holder, bytes, isStuck) in all where isStuck && bytes > rest {
            guard budget.isTight else { return }
            holder.shed(beyond: rest)
        }
        for (holder, bytes, _) in all where bytes > share {
            guard budget.isTight else { return }
            holder.shed(beyond: share)
        }
    }
}

extension ChannelHandlerContext {
    /// Closes and frees the waiting bytes, bypassing TLS, which would queue its close_notify behind them.
    func closeAtOnce() {
        if let tls = try? pipeline.syncOperations.context(handlerType: NIOSSLServerHandler.self) {
            tls.close(promise: nil)
        } else {
            close(promise: nil)
        }
    }
}
