import NIOCore
import SidecarCore
import TestSupport
import Testing

@testable import SidecarServer

/// A send queue with a limit, which is used as an output uses it, and says in words what it holds: `a:1` for a
/// publication of channel `a`, `gap a:1`, `#1` for a message to the client alone.
private final class QueueScript {
    /// What each message is but a gap, in bytes.
    static let messageBytes = 100
    /// What it counts for.
    static let cost = messageBytes + SendQueue.messageOverhead

    enum Outcome: Equatable { case queued, dropped, closed }

    private static let prepared = PreparedMessage(.text, ByteBuffer(string: "x"))

    private var queue: SendQueue
    private let gaps: ProtocolEncoding?
    var limit: Int
    /// What is on its way to the client, in bytes.
    var bytesBefore = 0
    /// How many messages were dropped, apart from the one that has just come.
    private(set) var dropped = 0
    private(set) var fault: String?

    init(_ gaps: ProtocolEncoding? = nil, limit: Int) {
        queue = gaps.map { SendQueue(tellingGapsIn: .protocolFrames($0)) } ?? SendQueue()
        self.gaps = gaps
        self.limit = limit
    }

    var byteCount: Int { queue.byteCount }
    var isEmpty: Bool { queue.isEmpty }

    // MARK: Coming in

    /// Something was published.
    func publish(_ channel: ChannelName, _ offset: UInt64, _ action: SlowClientAction) -> Outcome {
        let position = ChannelPosition(
            offset: offset,
            epoch: ChannelEpoch(1),
            mark: .process(epoch: 1, sequence: offset)
        )
        let delivery = ChannelDelivery(
            Self.prepared,
            of: channel,
            at: position,
            mark: nil,
            time: 0,
            excluding: nil,
            tally: nil
        )
        return send("\(channel):\(offset)", channel, gaps == nil ? nil : delivery, action)
    }

    /// A message to the client alone.
    func send(_ number: Int, _ action: SlowClientAction) -> Outcome { send("#\(number)", nil, nil, action) }

    private func send(
        _ name: String,
        _ channel: ChannelName?,
        _ delivery: ChannelDelivery?,
        _ action: SlowClientAction
    ) -> Outcome {
        let decision = queue.makeRoom(for: Self.cost, of: channel, beside: bytesBefore, limit: limit, action)
        dropped += decision.dropped
        if decision.action != action { fault = "another action" }
        defer { check() }
        switch decision.answer {
        case .close: return .closed
        case .drop:
            if let delivery { queue.noteMissing(delivery) }
            return .dropped
        case .fits:
            // Half of them have their payload beside their header.
            let rest = String(repeating: " ", count: Self.messageBytes - name.utf8.count)
            var message =
                name.utf8.count % 2 == 0
                ? SendQueue.Message(header: ByteBuffer(string: name + rest), payload: nil)
                : SendQueue.Message(header: ByteBuffer(string: name), payload: ByteBuffer(string: rest))
            message.channel = channel
            message.delivery = delivery
            queue.append(message)
            return .queued
        }
    }

    func shed(to limit: Int, _ action: SlowClientAction) -> Int {
        let count = queue.shed(to: limit, beside: bytesBefore, action)
        dropped += count
        check()
        return count
    }

    func removeAll(of channel: ChannelName) -> Int {
        let count = queue.removeAll(of: channel)
        check()
        return count
    }

    func removeAll() -> Int {
        let count = queue.removeAll()
        check()
        return count
    }

    // MARK: Going out

    /// The oldest message.
    func pop() -> String? {
        let message = queue.popFirst()
        check()
        return message.map(words)
    }

    /// All messages, which stay.
    var waiting: [String] {
        var copy = queue
        var messages: [String] = []
        while let message = copy.popFirst() { messages.append(words(message)) }
        if copy.byteCount != 0 { fault = "\(copy.byteCount) bytes in an empty queue" }
        return messages
    }

    private func words(_ message: SendQueue.Message) -> String {
        guard message.isGap else {
            var whole = message.header
            if let payload = message.payload { whole.writeImmutableBuffer(payload) }
            return String(String(buffer: whole).prefix { $0 != " " })
        }
        guard let gaps, let delivery = message.delivery, message.channel == delivery.channel else {
            return "gap of nothing"
        }
        let frame = gaps.write(.gap(delivery.channel, delivery.position))
        guard message.header == RawFrames.encode(gaps.format, frame), message.payload == nil else {
            return "gap with another frame"
        }
        return "gap \(delivery.channel):\(delivery.position.offset)"
    }

    /// What is counted is what is there.
    private func check() {
        var copy = queue
        var bytes = 0
        while let message = copy.popFirst() {
            bytes += message.header.readableBytes + (message.payload?.readableBytes ?? 0) + SendQueue.messageOverhead
        }
        if queue.byteCount != bytes { fault = "\(queue.byteCount) bytes instead of \(bytes)" }
        if queue.isEmpty != (bytes == 0) { fault = "empty or not" }
    }
}

@Suite("Messages that wait for a slow client")
struct SendQueueTests {
    private static let cost = QueueScript.cost

    private let a: ChannelName
    private let b: ChannelName

    init() throws {
        a = try #require(ChannelName("a"))
        b = try #require(ChannelName("b"))
    }

    /// A queue for so many messages and bytes more.
    private func queue(_ gaps: ProtocolEncoding? = nil, for count: Int, and bytes: Int = 0) -> QueueScript {
        QueueScript(gaps, limit: count * Self.cost + bytes)
    }

    private func publish(
        _ offsets: ClosedRange<UInt64>,
        to channel: ChannelName,
        _ queue: QueueScript,
        _ action: SlowClientAction = .close,
        _ location: SourceLocation = #_sourceLocation
    ) {
        for offset in offsets {
            let outcome = queue.publish(channel, offset, action)
            #expect(outcome == .queued, "\(offset)", sourceLocation: location)
        }
    }

    private func expect(
        _ queue: QueueScript,
        _ messages: [String],
        dropped: Int = 0,
        _ location: SourceLocation = #_sourceLocation
    ) {
        #expect(queue.waiting == messages, sourceLocation: location)
        #expect(queue.dropped == dropped, sourceLocation: location)
        #expect(queue.fault == nil, sourceLocation: location)
    }

    // MARK: Where gaps are not told

    @Test("Messages may wait up to the limit", arguments: [-1, 0, 1])
    func limit(beside: Int) {
        for action in SlowClientAction.allCases {
            let queue = queue(for: 3, and: beside)
            queue.bytesBefore = Self.cost
            let first = queue.send(1, action)
            let second = queue.send(2, .close)
            #expect(first == .queued)
            #expect(second == (beside < 0 ? .closed : .queued))
            expect(queue, beside < 0 ? ["#1"] : ["#1", "#2"])
        }
    }

    @Test("One message may always wait when nothing else does")
    func single() {
        for action in SlowClientAction.allCases {
            let queue = queue(for: 0)
            let first = queue.send(1, action)
            #expect(first == .queued)
            expect(queue, ["#1"])
            let late = QueueScript(limit: Self.cost)
            late.bytesBefore = 1
            let second = late.send(1, action)
            switch action {
            case .close: #expect(second == .closed)
            case .dropNewest, .latest: #expect(second == .dropped)
            case .dropOldest: #expect(second == .queued)
            }
        }
    }

    @Test("Where the oldest are dropped, what is on its way alone can fill the limit", arguments: [-1, 0])
    func fullBefore(beside: Int) {
        let queue = queue(for: 2)
        _ = queue.send(1, .dropOldest)
        _ = queue.send(2, .dropOldest)
        queue.bytesBefore = queue.limit + beside
        let outcome = queue.send(3, .dropOldest)
        #expect(outcome == (beside < 0 ? .queued : .dropped))
        expect(queue, beside < 0 ? ["#3"] : [], dropped: 2)
    }

    @Test("A client is closed, and nothing is dropped")
    func close() {
        let queue = queue(for: 2)
        publish(1...2, to: a, queue)
        let outcome = queue.publish(a, 3, .close)
        #expect(outcome == .closed)
        expect(queue, ["a:1", "a:2"])
    }

    @Test("The newest is dropped")
    func newest() {
        let queue = queue(for: 2)
        publish(1...2, to: a, queue)
        let published = queue.publish(a, 3, .dropNewest)
        let direct = queue.send(1, .dropNewest)
        #expect(published == .dropped && direct == .dropped)
        expect(queue, ["a:1", "a:2"])
    }

    @Test("The oldest are dropped, whatever they are")
    func oldest() {
        let queue = queue(for: 3)
        _ = queue.send(1, .close)
        publish(1...2, to: a, queue)
        let first = queue.publish(b, 1, .dropOldest)
        #expect(first == .queued)
        expect(queue, ["a:1", "a:2", "b:1"], dropped: 1)
        queue.limit = 2 * Self.cost
        let second = queue.send(2, .dropOldest)
        #expect(second == .queued)
        expect(queue, ["b:1", "#2"], dropped: 3)
    }

    @Test("Of a channel only the latest is kept, also while there is room")
    func latest() {
        let queue = queue(for: 10)
        _ = queue.send(1, .close)
        publish(1...2, to: a, queue)
        publish(1...1, to: b, queue)
        let outcome = queue.publish(a, 3, .latest)
        #expect(outcome == .queued)
        expect(queue, ["#1", "b:1", "a:3"], dropped: 2)
        queue.limit = 3 * Self.cost
        // Its predecessor makes room for it, that of another channel does not.
        let next = queue.publish(a, 4, .latest)
        #expect(next == .queued)
        queue.limit = 2 * Self.cost
        let late = queue.publish(b, 2, .latest)
        #expect(late == .dropped)
        expect(queue, ["#1", "a:4"], dropped: 4)
    }

    @Test("Messages are shed until the rest fits, from the end that the action says", arguments: [0, 1])
    func shed(beside: Int) {
        let count = 1 + beside
        let withoutOldest = beside == 0 ? ["a:2", "a:3"] : ["a:3"]
        let withoutNewest = beside == 0 ? ["a:1", "a:2"] : ["a:1"]
        let samples: [(SlowClientAction, [String])] = [
            (.close, ["a:1", "a:2", "a:3"]), (.dropOldest, withoutOldest), (.latest, withoutOldest),
            (.dropNewest, withoutNewest),
        ]
        for (action, expected) in samples {
            let queue = queue(for: 10)
            publish(1...3, to: a, queue)
            queue.bytesBefore = 50
            let dropped = queue.shed(to: 2 * Self.cost + 50 - beside, action)
            #expect(dropped == (action == .close ? 0 : count), "\(action)")
            expect(queue, expected, dropped: dropped)
        }
    }

    @Test("Shedding more than there is empties the queue")
    func shedAll() {
        for action in [SlowClientAction.dropOldest, .latest, .dropNewest] {
            let queue = queue(for: 10)
            publish(1...3, to: a, queue)
            queue.bytesBefore = 1
            let dropped = queue.shed(to: 0, action)
            #expect(dropped == 3)
            expect(queue, [], dropped: 3)
            #expect(queue.isEmpty)
        }
    }

    @Test("Messages are removed by their channel, or all")
    func removal() {
        let queue = queue(for: 10)
        publish(1...2, to: a, queue)
        publish(1...1, to: b, queue)
        _ = queue.send(1, .close)
        let ofOne = queue.removeAll(of: b)
        #expect(ofOne == 1)
        let again = queue.removeAll(of: b)
        #expect(again == 0)
        expect(queue, ["a:1", "a:2", "#1"])
        let all = queue.removeAll()
        #expect(all == 3)
        expect(queue, [])
        #expect(queue.byteCount == 0)
    }

    @Test("Messages go out in their order, and leave nothing behind")
    func order() {
        let queue = queue(for: 10)
        publish(1...2, to: a, queue)
        _ = queue.send(1, .close)
        #expect(queue.byteCount == 3 * Self.cost)
        let popped = (0..<4).map { _ in queue.pop() ?? "-" }
        #expect(popped == ["a:1", "a:2", "#1", "-"])
        #expect(queue.byteCount == 0 && queue.isEmpty)
    }

    @Test("A receipt is attached to a message that waits, not to none")
    func receipts() {
        var queue = SendQueue()
        let tally = PublicationTally(of: PreparedMessage(.text, ByteBuffer(string: "x")), waitsForKernel: true)
        let receipt = WriteReceipt(for: tally)
        let toNone = queue.attach(receipt)
        #expect(!toNone)
        queue.append(SendQueue.Message(header: ByteBuffer(string: "1"), payload: nil))
        queue.append(SendQueue.Message(header: ByteBuffer(string: "2"), payload: nil))
        let isAttached = queue.attach(receipt)
        #expect(isAttached)
        let counts = (0..<2).map { _ in queue.popFirst()?.receipts.count ?? -1 }
        #expect(counts == [0, 1])
    }

    @Test("A small part of a large buffer is copied, so that it does not keep the rest")
    func compacted() {
        var large = ByteBuffer(repeating: 1, count: 20_000)
        large.moveReaderIndex(forwardBy: 15_000)
        let message = SendQueue.Message(header: ByteBuffer(string: "h"), payload: large)
        let compacted = message.compacted
        #expect(compacted.payload == large && compacted.header == message.header)
        #expect((compacted.payload?.storageCapacity ?? .max) < 15_000)
        #expect(compacted.byteCount == 5_001 + SendQueue.messageOverhead)
        let whole = ByteBuffer(repeating: 1, count: 20_000)
        let kept = SendQueue.Message(header: ByteBuffer(string: "h"), payload: whole).compacted
        #expect(kept.payload?.storageCapacity == whole.storageCapacity)
    }

    // MARK: Where gaps are told

    @Test("A run of dropped messages is one gap, in their place", arguments: ProtocolEncoding.allCases)
    func gapOfOldest(encoding: ProtocolEncoding) {
        let queue = queue(encoding, for: 3)
        publish(1...3, to: a, queue)
        let outcome = queue.publish(a, 4, .dropOldest)
        #expect(outcome == .queued)
        expect(queue, ["gap a:2", "a:3", "a:4"], dropped: 2)
        let next = queue.publish(a, 5, .dropOldest)
        #expect(next == .queued)
        expect(queue, ["gap a:3", "a:4", "a:5"], dropped: 3)
    }

    @Test("What is dropped as it comes is a gap at the end, one for a run", arguments: ProtocolEncoding.allCases)
    func gapOfNewest(encoding: ProtocolEncoding) {
        let queue = queue(encoding, for: 2)
        publish(1...2, to: a, queue)
        let dropped = [3, 4].map { queue.publish(a, $0, .dropNewest) }
        #expect(dropped == [.dropped, .dropped])
        expect(queue, ["a:1", "a:2", "gap a:4"])
        #expect(queue.pop() == "a:1")
        let still = queue.publish(a, 5, .dropNewest)
        #expect(still == .dropped)
        expect(queue, ["a:2", "gap a:5"])
        #expect(queue.pop() == "a:2")
        let fits = queue.publish(a, 6, .dropNewest)
        #expect(fits == .queued)
        let again = queue.publish(a, 7, .dropNewest)
        #expect(again == .dropped)
        // The messages between them make it another run.
        expect(queue, ["gap a:5", "a:6", "gap a:7"])
    }

    @Test("Each channel has a gap of its own, before what follows it")
    func gapsOfChannels() {
        let queue = queue(.json, for: 10)
        publish(1...1, to: a, queue)
        publish(1...1, to: b, queue)
        _ = queue.send(1, .close)
        publish(2...3, to: a, queue)
        publish(2...2, to: b, queue)
        let dropped = queue.shed(to: 0, .dropOldest)
        #expect(dropped == 5)
        expect(queue, ["gap a:3", "gap b:2", "#1"], dropped: 5)
        let none = queue.shed(to: 0, .dropOldest)
        #expect(none == 0)
    }

    @Test("The newest are shed first, and the gap stands behind the others")
    func shedNewest() {
        let queue = queue(.json, for: 10)
        publish(1...3, to: a, queue)
        publish(1...1, to: b, queue)
        let dropped = queue.shed(to: 4 * Self.cost - 1, .dropNewest)
        #expect(dropped == 1)
        expect(queue, ["a:1", "a:2", "a:3", "gap b:1"], dropped: 1)
        let none = queue.shed(to: 0, .close)
        #expect(none == 0)
        expect(queue, ["a:1", "a:2", "a:3", "gap b:1"], dropped: 1)
    }

    @Test("Only the latest of a channel is no gap while there is room, and one when there is none")
    func gapsOfLatest() {
        let queue = queue(.json, for: 3)
        publish(1...1, to: a, queue)
        publish(1...1, to: b, queue)
        let second = queue.publish(a, 2, .latest)
        #expect(second == .queued)
        expect(queue, ["b:1", "a:2"], dropped: 1)
        queue.limit = Self.cost
        let third = queue.publish(a, 3, .latest)
        #expect(third == .dropped)
        expect(queue, ["b:1", "gap a:3"], dropped: 2)
        let fourth = queue.publish(a, 4, .latest)
        #expect(fourth == .dropped)
        expect(queue, ["b:1", "gap a:4"], dropped: 2)
        queue.limit = 4 * Self.cost
        publish(5...6, to: a, queue, .latest)
        // What was a gap stays one.
        expect(queue, ["b:1", "gap a:4", "a:6"], dropped: 3)
    }

    @Test("A message to the client alone is never dropped: publications make room for it, or the client is closed")
    func direct() {
        for action in [SlowClientAction.dropOldest, .dropNewest, .latest] {
            let queue = queue(.json, for: 3)
            publish(1...2, to: a, queue)
            let first = queue.send(1, .close)
            #expect(first == .queued)
            let second = queue.send(2, action)
            #expect(second == .queued, "\(action)")
            expect(queue, ["gap a:2", "#1", "#2"], dropped: 2)
            let third = queue.send(3, action)
            #expect(third == .closed, "\(action)")
            expect(queue, ["gap a:2", "#1", "#2"], dropped: 2)
            let published = queue.publish(a, 3, action)
            #expect(published == .dropped, "\(action)")
            expect(queue, ["gap a:3", "#1", "#2"], dropped: 2)
        }
        let strict = QueueScript(.json, limit: 3 * Self.cost)
        publish(1...3, to: a, strict)
        let closed = strict.send(1, .close)
        #expect(closed == .closed)
        expect(strict, ["a:1", "a:2", "a:3"])
    }

    @Test("Messages to the client alone are not shed")
    func directIsKept() {
        for action in SlowClientAction.allCases {
            let queue = queue(.json, for: 10)
            for number in 1...3 { _ = queue.send(number, .close) }
            let dropped = queue.shed(to: 0, action)
            #expect(dropped == 0)
            expect(queue, ["#1", "#2", "#3"])
        }
    }

    // MARK: Anything

    @Test("Whatever is dropped, a client that is told of gaps misses nothing unawares", arguments: UInt64(1)...12)
    func randomGaps(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var totals = QueueWalk.Totals()
        for round in 0..<10 {
            let encoding = ProtocolEncoding.allCases.randomElement(using: &random) ?? .json
            let walk = QueueWalk(encoding, seed: random.next(), [a, b])
            for _ in 0..<300 where walk.fault == nil { walk.step() }
            if walk.fault == nil { walk.end() }
            if let fault = walk.fault {
                Issue.record("seed \(seed), round \(round), \(encoding): \(fault)")
                return
            }
            totals.add(walk.totals)
        }
        #expect(totals.gaps > 50 && totals.dropped > 50 && totals.replaced > 5 && totals.received > 100)
    }

    @Test("Without gaps too, no message is counted twice or not at all", arguments: UInt64(1)...6)
    func random(seed: UInt64) {
        var totals = QueueWalk.Totals()
        for round in UInt64(0)..<10 {
            let walk = QueueWalk(nil, seed: seed &* 1_000 &+ round, [a, b])
            for _ in 0..<300 where walk.fault == nil { walk.step() }
            if walk.fault == nil { walk.end() }
            if let fault = walk.fault {
                Issue.record("seed \(seed), round \(round): \(fault)")
                return
            }
            totals.add(walk.totals)
        }
        #expect(totals.gaps == 0 && totals.dropped > 50 && totals.received > 100)
    }
}

/// Publishes, sends and takes at random, and follows what comes out as a client does.
private final class QueueWalk {
    struct Totals {
        var gaps = 0
        var dropped = 0
        var replaced = 0
        var received = 0

        mutating func add(_ other: Totals) {
            gaps += other.gaps
            dropped += other.dropped
            replaced += other.replaced
            received += other.received
        }
    }

    private let queue: QueueScript
    private let tellsGaps: Bool
    private var random: SeededRandom
    private let channels: [ChannelName]
    private var heads: [String: UInt64] = [:]
    /// The last offset that the client has, or knows to be missing.
    private var client: [String: UInt64] = [:]
    /// What may be missing unawares, since something newer of the channel had taken its place.
    private var replaced: Set<String> = []
    private var sent = 0
    /// The messages to the client alone that are to come out.
    private var direct: [String] = []
    private var accepted = 0
    private(set) var totals = Totals()
    private var ownFault: String?

    init(_ gaps: ProtocolEncoding?, seed: UInt64, _ channels: [ChannelName]) {
        random = SeededRandom(seed: seed)
        queue = QueueScript(gaps, limit: 2_000)
        tellsGaps = gaps != nil
        self.channels = channels
    }

    var fault: String? { ownFault ?? queue.fault }

    private func fail(_ text: String) { if ownFault == nil { ownFault = text } }
    private func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }

    private func action() -> SlowClientAction {
        let actions: [SlowClientAction] = [.dropOldest, .dropOldest, .dropNewest, .dropNewest, .latest, .close]
        return actions[number(0...actions.count - 1)]
    }

    func step() {
        switch number(0...11) {
        case 0...5: publish(channels[number(0...channels.count - 1)], action())
        case 6: send(action())
        case 7, 8: if let words = queue.pop() { receive(words) }
        case 9: _ = queue.shed(to: number(0...2_500), action())
        case 10: queue.limit = number(0...3_500)
        default: queue.bytesBefore = number(0...3) == 0 ? number(0...2_000) : 0
        }
        checkCounts()
    }

    /// All goes out.
    func end() {
        while let words = queue.pop() { receive(words) }
        checkCounts()
        if queue.byteCount != 0 || !queue.isEmpty { fail("something is left") }
        guard tellsGaps else { return }
        if !direct.isEmpty { fail("missing at the end: \(direct)") }
        for (channel, head) in heads where client[channel] != head {
            fail("\(channel) ends at \(client[channel] ?? 0), not at \(head)")
        }
    }

    private func publish(_ channel: ChannelName, _ action: SlowClientAction) {
        let name = channel.text
        let offset = (heads[name] ?? 0) + 1
        if action == .latest {
            for words in queue.waiting where words.hasPrefix("\(name):") { replaced.insert(words) }
        }
        switch queue.publish(channel, offset, action) {
        case .queued:
            accepted += 1
            heads[name] = offset
        case .dropped: heads[name] = offset
        case .closed: break  // as if it had never been published
        }
    }

    private func send(_ action: SlowClientAction) {
        sent += 1
        switch queue.send(sent, action) {
        case .queued:
            accepted += 1
            direct.append("#\(sent)")
        case .dropped: if tellsGaps { fail("a message to the client alone was dropped") }
        case .closed: break
        }
    }

    private func receive(_ words: String) {
        if words.hasPrefix("#") {
            totals.received += 1
            guard tellsGaps else { return }
            if direct.first == words { direct.removeFirst() } else { fail("\(words) instead of \(direct)") }
            return
        }
        let isGap = words.hasPrefix("gap ")
        let parts = words.dropFirst(isGap ? 4 : 0).split(separator: ":").map(String.init)
        guard parts.count == 2, let offset = UInt64(parts[1]) else { return fail("\(words) came out") }
        let last = client[parts[0]] ?? 0
        client[parts[0]] = offset
        if offset <= last { return fail("\(words) behind \(last)") }
        if isGap {
            totals.gaps += 1
        } else {
            totals.received += 1
            guard tellsGaps else { return }
            for missing in last + 1..<offset {
                if replaced.contains("\(parts[0]):\(missing)") {
                    totals.replaced += 1
                } else {
                    fail("\(words) behind \(last) without a gap")
                }
            }
        }
    }

    /// What came in is what came out, what was dropped and what waits.
    private func checkCounts() {
        totals.dropped = queue.dropped
        let waiting = queue.waiting.count { !$0.hasPrefix("gap ") }
        if accepted != totals.received + queue.dropped + waiting {
            fail("\(accepted) in, \(totals.received) out, \(queue.dropped) dropped, \(waiting) waiting")
        }
    }
}
