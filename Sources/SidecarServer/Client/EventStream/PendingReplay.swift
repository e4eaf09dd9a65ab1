import NIOCore
import SidecarCore

/// Holds back what is sent to an event stream until the broker has answered with its replay.
///
/// What is held counts like a send queue, for the client and for the process. Publications that have no room are lost,
/// which the client is told by a reset, unless the replay contains them.
final class PendingReplay: SendBufferHolder {
    /// An event that is held back.
    struct Event {
        let text: ByteBuffer
        /// Its position; nil when it is no publication.
        let mark: StreamMark?
        let channel: ChannelName?
        let action: SlowClientAction?
        /// Receipts that wait for it to be written.
        var receipts: [WriteReceipt] = []

        /// What it counts for, in bytes.
        var byteCount: Int { text.readableBytes + SendQueue.messageOverhead }
    }

    /// What the replay and the events after it may count for, in bytes.
    let room: Int
    private let buffers: SendBuffers
    private var completion: ((Result<Replay, ChannelFailure>) -> Void)?
    private var events: [Event] = []
    private(set) var unsentBytes = 0
    /// The last of those publications.
    private var lostUpTo: StreamCursor?
    /// Publications that had no room; a replay may contain the first of them.
    private var lostCount = 0
    private var brokerHasLost = false

    /// - Parameter completion: Called with the answer, unless the stream has ended.
    init(room: Int, buffers: SendBuffers, _ completion: @escaping (Result<Replay, ChannelFailure>) -> Void) {
        self.room = room
        self.buffers = buffers
        self.completion = completion
    }

    /// The broker has answered.
    func complete(_ answer: Result<Replay, ChannelFailure>) { completion.take()?(answer) }

    /// Ends the wait.
    ///
    /// - Returns: What was held back.
    func end() -> [Event] {
        completion = nil
        let held = events
        events = []
        account(unsentBytes: 0)
        return held
    }

    // MARK: What is held back

    /// Holds an event back; false when there is no room for it.
    func hold(_ event: Event) -> Bool {
        if !fits(event) { losePublications() }
        guard fits(event) else {
            if let mark = event.mark {
                lose(mark)
            } else {
                buffers.metrics.messagesDropped(1, reason: .slowClient)
            }
            return false
        }
        events.append(event)
        account(unsentBytes: unsentBytes + event.byteCount)
        return true
    }

    /// A single event may always wait.
    private func fits(_ event: Event) -> Bool {
        events.isEmpty || unsentBytes + event.byteCount <= buffers.allowance(upTo: room, adding: event.byteCount)
    }

    /// Settles the receipt with the event held last.
    func whenWritten(_ receipt: WriteReceipt) {
        receipt.begin()
        guard let last = events.indices.last else { return receipt.settle(wasWritten: false) }
        events[last].receipts.append(receipt)
    }

    // MARK: What is lost

    /// The broker has lost messages.
    func lostMessages() { brokerHasLost = true }

    /// Whether messages are lost that a replay up to this position does not contain.
    func hasLost(after position: StreamCursor) -> Bool { brokerHasLost || lostPublications(after: position) > 0 }

    /// How many publications had no room, if a replay up to this position does not contain them all.
    ///
    /// - Parameter position: Nil without a replay.
    func lostPublications(after position: StreamCursor?) -> Int {
        guard let lostUpTo else { return 0 }
        if let position, lostUpTo.isCovered(by: position) { return 0 }
        return lostCount
    }

    private func lose(_ mark: StreamMark) {
        lostCount += 1
        if lostUpTo == nil { lostUpTo = StreamCursor(.channels([])) }
        lostUpTo?.advance(by: mark)
    }

    /// All at once, since the client will reload everything anyway.
    private func losePublications() {
        drop { event in
            if let mark = event.mark { lose(mark) }
            return event.mark != nil
        }
    }

    /// Drops the events that `isDropped` says.
    private func drop(_ isDropped: (Event) -> Bool) {
        var left: [Event] = []
        for event in events {
            if isDropped(event) {
                event.receipts.settleAsDropped()
            } else {
                left.append(event)
            }
        }
        events = left
        account(unsentBytes: left.reduce(0) { $0 + $1.byteCount })
    }

    // MARK: The send buffers of the process

    private func account(unsentBytes new: Int) {
        let old = unsentBytes
        unsentBytes = new
        buffers.changed(self, from: old, to: new)
    }

    /// Does nothing: each change is accounted for when it happens.
    func accountUnsent(_ bytes: Int) {}

    func shed(beyond share: Int) {
        losePublications()
        guard unsentBytes > share else { return }
        buffers.metrics.messagesDropped(events.count, reason: .slowClient)
        drop { _ in true }
    }
}
