import NIOCore
import NIOSSL
import SidecarCore
import Synchronization

/// A connection for which bytes may wait that its client does not take.
protocol SendBufferHolder: AnyObject {
    /// What waits now, in bytes.
    var unsentBytes: Int { get }
    /// Notes what waits.
    func accountUnsent(_ bytes: Int)
    /// All hold more than they may, and this one more than its share: it is treated as slow.
    func giveUpUnsent(beyond share: Int)
}

/// How much may wait for one client, and what is done about more.
struct SendLimits: Equatable {
    /// In bytes (`MAX_SEND_BUFFER_BYTES`).
    let maxBytes: Int
    /// Unless a channel says otherwise (`SLOW_CLIENT_ACTION`).
    let action: SlowClientAction

    init(maxBytes: Int, action: SlowClientAction) {
        self.maxBytes = maxBytes
        self.action = action
    }

    init(_ settings: Settings) {
        self.init(maxBytes: settings.maxSendBufferBytes, action: settings.slowClientAction)
    }
}

/// The connections of one event loop for which bytes wait, and what is done when that is too much over the process.
///
/// Only slow clients come here: who takes what it gets holds nothing.
final class SendBuffers {
    /// The event loops, since those who hold the most may be another's: what makes each of them look.
    final class Loops: Sendable {
        private let wakers = Mutex<[@Sendable () -> Void]>([])

        fileprivate func add(_ wake: @escaping @Sendable () -> Void) { wakers.withLock { $0.append(wake) } }
        fileprivate func wakeAll() { for wake in wakers.withLock({ $0 }) { wake() } }
    }

    /// Who has held something for so long has stopped reading, or nearly.
    private static let patience = TimeAmount.seconds(1)
    /// The time after a look that could not help until the next.
    private static let pause = TimeAmount.milliseconds(20)

    /// What a connection may hold, as the settings say now.
    var limits: SendLimits
    let metrics: ServerMetrics
    private let loops: Loops
    private let budget: SendBudget
    private let eventLoop: any EventLoop
    /// Since when something has waited without a break, too: who reads is done with it again and again.
    private var holders: [ObjectIdentifier: (holder: any SendBufferHolder, since: NIODeadline)] = [:]
    /// When nobody here held more than its share though all together did.
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

    /// Notes that a connection holds other than it did, both in bytes.
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

    /// What one connection may hold that is to get `byteCount` more.
    func allowance(upTo most: Int, adding byteCount: Int) -> Int {
        budget.allowance(upTo: most, adding: byteCount)
    }

    /// Makes room where that may help; a client that is closed for it may be the one that has just got something.
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

    /// Treats those as slow that hold the most, until the total has room again or nobody here holds more than its share:
    /// first of those who have not been done with it for a while, so that a large download under way outlives them.
    private func treatLargestAsSlow() {
        // Some have taken more than they were seen to.
        for (holder, _) in Array(holders.values) { holder.accountUnsent(holder.unsentBytes) }
        guard budget.isExceeded else { return }
        let share = budget.share
        let overdue = NIODeadline.now() - Self.patience
        let all = holders.values.map { (holder: $0.holder, bytes: $0.holder.unsentBytes, isStuck: $0.since <= overdue) }
            .sorted { $0.bytes > $1.bytes }
        // A quarter of the total is left for those who read.
        let rest = share / 4 * 3
        for (holder, bytes, isStuck) in all where isStuck && bytes > rest {
            guard budget.isTight else { return }
            holder.giveUpUnsent(beyond: rest)
        }
        for (holder, bytes, _) in all where bytes > share {
            guard budget.isTight else { return }
            holder.giveUpUnsent(beyond: share)
        }
    }
}

extension ChannelHandlerContext {
    /// Closes and frees what waits to be sent, past TLS, which would wait for its own goodbye behind it.
    func closeAtOnce() {
        if let tls = try? pipeline.syncOperations.context(handlerType: NIOSSLServerHandler.self) {
            tls.close(promise: nil)
        } else {
            close(promise: nil)
        }
    }
}
