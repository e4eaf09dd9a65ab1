import NIOCore
import SidecarCore
import TestSupport
import Testing

@testable import SidecarServer

private func position(_ offset: UInt64, epoch: UInt64 = 1) -> ChannelPosition {
    ChannelPosition(offset: offset, epoch: ChannelEpoch(epoch), mark: .process(epoch: epoch, sequence: offset))
}

private func published(
    _ message: PreparedMessage,
    _ channel: ChannelName,
    _ offset: UInt64,
    epoch: UInt64 = 1
) -> ChannelDelivery {
    ChannelDelivery(
        message,
        of: channel,
        at: position(offset, epoch: epoch),
        mark: nil,
        time: 0,
        excluding: nil,
        tally: nil
    )
}

/// The answer of a broker: these messages, and then what is behind a position.
private func replay(_ offsets: [UInt64] = [], isComplete: Bool = true, to offset: UInt64) -> ChannelReplay {
    let messages = offsets.map {
        StoredMessage(offset: $0, id: MessageID($0), time: 0, format: .text, payload: ByteBuffer(string: "x"))
    }
    return ChannelReplay(messages: messages, isComplete: isComplete, upTo: position(offset))
}

/// The feeds of one client, which say in words what the client is to be told.
private final class FeedScript {
    private var feeds = ChannelFeeds()
    private let small = PreparedMessage(.text, ByteBuffer(string: "x"))

    /// Whether the broker has to answer, something waits, or neither.
    var state: String {
        switch (feeds.isAsking, feeds.isEmpty) {
        case (true, false): "asking"
        case (false, false): "waiting"
        case (false, true): "empty"
        case (true, true): "asking of nothing"
        }
    }

    var known: [ChannelName] { feeds.known.sorted() }

    func isLive(_ channel: ChannelName) -> Bool { feeds.isLive(channel) }

    func joined(_ channel: ChannelName, after known: UInt64? = nil) -> ChannelFeeds.Question {
        feeds.joined(channel, after: known.map { position($0) })
    }

    func left(_ channel: ChannelName) { feeds.left(channel) }

    func hold(_ channel: ChannelName, _ offset: UInt64, epoch: UInt64 = 1, _ message: PreparedMessage? = nil) -> Bool {
        feeds.hold(published(message ?? small, channel, offset, epoch: epoch))
    }

    func answered(_ question: ChannelFeeds.Question, _ replay: ChannelReplay?) -> String {
        guard let beginning = feeds.answered(question, replay) else { return "-" }
        return words(beginning)
    }

    func resumed(_ channel: ChannelName, isComplete: Bool, at offset: UInt64) -> String {
        switch feeds.resumed(channel, isComplete: isComplete, at: position(offset)) {
        case nil: return "-"
        case .begins(let beginning): return words(beginning)
        case .ask(let question):
            asked = question
            return "ask after \(question.known.map { "\($0.offset)" } ?? "nothing")"
        case .gap: return "gap"
        }
    }

    /// What `resumed` wants to ask.
    private(set) var asked: ChannelFeeds.Question?

    func beginning(_ channel: ChannelName) -> String {
        guard let beginning = feeds.beginning(of: channel) else { return "-" }
        return words(beginning)
    }

    /// What has waited: the last one that is lost, and the others.
    func passOn(_ channel: ChannelName) -> String {
        let held = feeds.passOn(channel)
        let offsets = held.deliveries.map { "\($0.position.offset)" }.joined(separator: " ")
        guard let lost = held.lost else { return "[\(offsets)]" }
        return "lost \(lost.position.offset) [\(offsets)]"
    }

    /// The position that is told, what is said of its recovery, the replay, and where live messages begin.
    private func words(_ beginning: ChannelFeeds.Beginning) -> String {
        let replay = beginning.replay.map { "\($0.offset)" }.joined(separator: " ")
        let recovery =
            switch beginning.isRecovered {
            case nil: "new"
            case true?: "recovered"
            case false?: "unrecovered"
            }
        return "\(beginning.position.offset) \(recovery) [\(replay)] \(beginning.upTo.offset)"
    }
}

@Suite("Channels whose messages wait")
struct ChannelFeedsTests {
    private let a: ChannelName
    private let b: ChannelName
    private let c: ChannelName

    init() throws {
        a = try #require(ChannelName("a"))
        b = try #require(ChannelName("b"))
        c = try #require(ChannelName("c"))
    }

    @Test("A client without channels waits for nothing")
    func empty() {
        let feeds = FeedScript()
        #expect(feeds.state == "empty")
        #expect(!feeds.hold(a, 1))
        #expect(feeds.known == [])
        #expect(feeds.isLive(a))
        #expect(feeds.beginning(a) == "-")
        #expect(feeds.passOn(a) == "[]")
    }

    @Test("Several channels are asked for, and each is passed on with what was published behind its position")
    func greeting() {
        let feeds = FeedScript()
        let ofC = feeds.joined(c)
        let ofA = feeds.joined(a)
        let ofB = feeds.joined(b)
        #expect(Set([ofA.number, ofB.number, ofC.number]).count == 3)
        #expect(ofA.channel == a && ofA.known == nil)
        #expect(feeds.state == "asking")
        #expect(feeds.answered(ofA, replay(to: 10)) == "10 new [] 10")
        #expect(feeds.hold(a, 11))
        #expect(feeds.hold(a, 12))
        #expect(feeds.hold(b, 5))
        #expect(feeds.hold(b, 6))
        #expect(feeds.answered(ofC, nil) == "-")
        #expect(feeds.hold(c, 77))
        #expect(feeds.state == "asking")
        #expect(feeds.answered(ofB, replay(to: 5)) == "5 new [] 5")
        #expect(feeds.state == "waiting")
        #expect(feeds.known == [a, b])
        #expect(!feeds.isLive(a))
        #expect(feeds.beginning(a) == "10 new [] 10")
        #expect(feeds.beginning(c) == "-")
        #expect(feeds.passOn(a) == "[11 12]")
        #expect(feeds.isLive(a))
        #expect(!feeds.hold(a, 13))
        #expect(feeds.passOn(a) == "[]")
        #expect(feeds.passOn(c) == "[]")
        #expect(!feeds.isLive(c))
        #expect(feeds.passOn(b) == "[6]")
        #expect(feeds.state == "waiting")
        #expect(feeds.resumed(c, isComplete: true, at: 78) == "78 new [] 78")
        #expect(feeds.passOn(c) == "[]")
        #expect(feeds.state == "empty")
    }

    @Test("What is not known yet is not passed on")
    func tooEarly() {
        let feeds = FeedScript()
        let question = feeds.joined(a)
        #expect(feeds.hold(a, 5))
        #expect(feeds.passOn(a) == "[]")
        #expect(feeds.state == "asking")
        #expect(feeds.answered(question, replay(to: 4)) == "4 new [] 4")
        #expect(feeds.passOn(a) == "[5]")
    }

    // MARK: Returning clients

    @Test("A returning client gets what it has missed when that is all kept")
    func recovered() {
        let feeds = FeedScript()
        let question = feeds.joined(a, after: 7)
        #expect(question.known == position(7))
        for offset in UInt64(8)...11 { #expect(feeds.hold(a, offset)) }
        #expect(feeds.answered(question, replay([8, 9], to: 9)) == "7 recovered [8 9] 9")
        #expect(feeds.hold(a, 12))
        #expect(feeds.passOn(a) == "[10 11 12]")
    }

    @Test("It begins anew when anything is missing, and a new client has nothing to recover", arguments: [true, false])
    func unrecovered(isComplete: Bool) {
        let feeds = FeedScript()
        let old = feeds.joined(a, after: 7)
        let new = feeds.joined(b)
        let ofOld = feeds.answered(old, replay([], isComplete: false, to: 9))
        #expect(ofOld == "9 unrecovered [] 9")
        let ofNew = feeds.answered(new, replay([], isComplete: isComplete, to: 9))
        #expect(ofNew == "9 new [] 9")
    }

    @Test("A channel of a returning client is asked for again when the engine is back", arguments: [true, false])
    func askedAgain(isComplete: Bool) throws {
        let feeds = FeedScript()
        let first = feeds.joined(a, after: 7)
        #expect(feeds.answered(first, nil) == "-")
        #expect(feeds.state == "waiting")
        #expect(feeds.hold(a, 8))
        #expect(feeds.resumed(a, isComplete: isComplete, at: 9) == "ask after 7")
        #expect(feeds.state == "asking")
        let second = try #require(feeds.asked)
        #expect(second.number != first.number && second.channel == a)
        #expect(feeds.hold(a, 10))
        #expect(feeds.answered(first, replay([8], to: 8)) == "-")
        #expect(feeds.answered(second, replay([8, 9], to: 9)) == "7 recovered [8 9] 9")
        #expect(feeds.passOn(a) == "[10]")
        #expect(feeds.state == "empty")
    }

    // MARK: Membership

    @Test("Nothing of a channel waits once it is left")
    func left() {
        let feeds = FeedScript()
        let first = feeds.joined(a)
        let second = feeds.joined(b)
        let third = feeds.joined(c)
        #expect(feeds.answered(first, replay(to: 1)) == "1 new [] 1")
        #expect(feeds.answered(second, nil) == "-")
        feeds.left(a)
        #expect(feeds.passOn(a) == "[]")
        feeds.left(b)
        #expect(feeds.state == "asking")
        feeds.left(c)
        #expect(feeds.state == "empty")
        #expect(feeds.answered(third, replay(to: 1)) == "-")
        #expect(feeds.state == "empty")
        #expect(!feeds.hold(a, 2))
        feeds.left(a)
        #expect(feeds.state == "empty")
    }

    @Test("The answer to a question before the channel was left and joined again does not count")
    func oldAnswers() {
        let feeds = FeedScript()
        let old = feeds.joined(a)
        #expect(feeds.hold(a, 3))
        feeds.left(a)
        let new = feeds.joined(a)
        #expect(old != new)
        #expect(feeds.hold(a, 4))
        #expect(feeds.answered(old, replay(to: 2)) == "-")
        #expect(feeds.state == "asking")
        #expect(feeds.answered(old, nil) == "-")
        #expect(feeds.state == "asking")
        // What was published to the former membership is not a part of this one.
        #expect(feeds.answered(new, replay(to: 2)) == "2 new [] 2")
        #expect(feeds.answered(new, replay(to: 9)) == "-")
        #expect(feeds.beginning(a) == "2 new [] 2")
        #expect(feeds.passOn(a) == "[4]")
        #expect(feeds.answered(new, replay(to: 9)) == "-")
        #expect(feeds.state == "empty")
    }

    @Test("A channel that is joined twice waits for one answer")
    func joinedTwice() {
        let feeds = FeedScript()
        _ = feeds.joined(a)
        let question = feeds.joined(a)
        #expect(feeds.state == "asking")
        #expect(feeds.answered(question, replay(to: 1)) == "1 new [] 1")
        #expect(feeds.state == "waiting")
        // Also when it is known already.
        _ = feeds.joined(a)
        #expect(feeds.state == "asking")
        feeds.left(a)
        #expect(feeds.state == "empty")
    }

    // MARK: What waits

    @Test("What was published before the position is not behind it, unless its epoch is another one")
    func behind() {
        let feeds = FeedScript()
        let question = feeds.joined(a)
        for offset in [9, 10, 11] as [UInt64] { #expect(feeds.hold(a, offset)) }
        #expect(feeds.hold(a, 3, epoch: 2))
        #expect(feeds.answered(question, replay(to: 10)) == "10 new [] 10")
        #expect(feeds.passOn(a) == "[11 3]")
    }

    @Test("More than 256 KiB do not wait, and the client is told what it has lost", arguments: [255, 256, 257, 258])
    func overflow(count: UInt64) {
        let message = PreparedMessage(.text, ByteBuffer(repeating: 0x78, count: 1_024 - SendQueue.messageOverhead))
        let all = (1...min(count, 256)).map { "\($0)" }.joined(separator: " ")
        let expected = count <= 256 ? "[\(all)]" : count == 257 ? "lost 257 []" : "lost 257 [258]"
        for isKnown in [true, false] {
            let feeds = FeedScript()
            let question = feeds.joined(a)
            if isKnown { #expect(feeds.answered(question, replay(to: 0)) == "0 new [] 0") }
            for offset in 1...count { #expect(feeds.hold(a, offset, message)) }
            if !isKnown { #expect(feeds.answered(question, replay(to: 0)) == "0 new [] 0") }
            let held = feeds.passOn(a)
            #expect(held == expected)
        }
    }

    @Test("Only the last overflow counts, and only where it lies behind the position")
    func overflowBehind() {
        let large = PreparedMessage(.text, ByteBuffer(repeating: 0x78, count: ChannelFeeds.mostHeldBytes))
        let samples: [(UInt64, String)] = [(0, "lost 3 [4]"), (2, "lost 3 [4]"), (3, "[4]"), (4, "[]")]
        for (offset, expected) in samples {
            let feeds = FeedScript()
            let question = feeds.joined(a)
            #expect(feeds.hold(a, 1, large))
            #expect(feeds.hold(a, 2))
            #expect(feeds.hold(a, 3, large))
            #expect(feeds.hold(a, 4))
            #expect(feeds.answered(question, replay(to: offset)) == "\(offset) new [] \(offset)")
            let held = feeds.passOn(a)
            #expect(held == expected)
        }
    }

    // MARK: An engine that comes back

    @Test("A live channel has a gap when messages were lost")
    func resumedLive() {
        let feeds = FeedScript()
        #expect(feeds.resumed(a, isComplete: true, at: 5) == "-")
        #expect(feeds.resumed(a, isComplete: false, at: 5) == "gap")
        #expect(feeds.state == "empty")
    }

    @Test("A channel of a new client that is pending begins where the engine comes back", arguments: [true, false])
    func resumedPending(isComplete: Bool) {
        let feeds = FeedScript()
        let question = feeds.joined(a)
        #expect(feeds.hold(a, 1))
        #expect(feeds.answered(question, nil) == "-")
        #expect(feeds.hold(a, 2))
        #expect(feeds.state == "waiting")
        #expect(feeds.known == [])
        #expect(feeds.resumed(a, isComplete: isComplete, at: 7) == "7 new [] 7")
        #expect(feeds.known == [a])
        #expect(feeds.answered(question, replay(to: 9)) == "-")
        #expect(feeds.hold(a, 8))
        #expect(feeds.passOn(a) == "[8]")
        #expect(feeds.state == "empty")
    }

    @Test("An answer that is awaited holds when nothing was lost")
    func resumedAsking() {
        let feeds = FeedScript()
        let question = feeds.joined(a)
        #expect(feeds.hold(a, 1))
        #expect(feeds.resumed(a, isComplete: true, at: 5) == "-")
        #expect(feeds.state == "asking")
        #expect(feeds.hold(a, 6))
        #expect(feeds.answered(question, replay(to: 0)) == "0 new [] 0")
        #expect(feeds.passOn(a) == "[1 6]")
    }

    @Test("When messages were lost, the broker is asked again, since its answer may be of before")
    func lostWhileAsking() throws {
        let feeds = FeedScript()
        let question = feeds.joined(a)
        #expect(feeds.hold(a, 1))
        #expect(feeds.resumed(a, isComplete: false, at: 5) == "ask after nothing")
        let second = try #require(feeds.asked)
        #expect(feeds.hold(a, 6))
        #expect(feeds.answered(question, replay(to: 0)) == "-")
        #expect(feeds.answered(second, replay(to: 5)) == "5 new [] 5")
        #expect(feeds.passOn(a) == "[6]")
    }

    @Test("A channel that is known but not passed on begins anew when messages were lost", arguments: [true, false])
    func resumedKnown(isComplete: Bool) {
        for isReturning in [true, false] {
            let feeds = FeedScript()
            let question = feeds.joined(a, after: isReturning ? 1 : nil)
            _ = feeds.answered(question, replay(isReturning ? [2, 3] : [], to: 3))
            #expect(feeds.hold(a, 4))
            #expect(feeds.resumed(a, isComplete: isComplete, at: 7) == "-")
            #expect(feeds.hold(a, 8))
            let before = isReturning ? "1 recovered [2 3] 3" : "3 new [] 3"
            let anew = isReturning ? "7 unrecovered [] 7" : "7 new [] 7"
            #expect(feeds.beginning(a) == (isComplete ? before : anew))
            let held = feeds.passOn(a)
            #expect(held == (isComplete ? "[4 8]" : "[8]"))
        }
    }

    // MARK: Anything

    @Test("Whatever happens, a client that follows what it is told misses nothing unawares", arguments: UInt64(1)...12)
    func random(seed: UInt64) {
        var totals = FeedWalk.Totals()
        for round in UInt64(0)..<10 {
            let walk = FeedWalk(seed: seed &* 1_000 &+ round, [a, b, c])
            for _ in 0..<400 where walk.fault == nil { walk.step() }
            if walk.fault == nil { walk.end() }
            if let fault = walk.fault {
                Issue.record("seed \(seed), round \(round): \(fault)")
                return
            }
            totals.add(walk.totals)
        }
        // Each of the interesting things has happened.
        #expect(totals.beginnings > 20 && totals.held > 20 && totals.overflows > 0 && totals.gaps > 5)
        #expect(totals.received > 50 && totals.recovered > 0 && totals.unrecovered > 0)
        #expect(totals.stale > 0)
    }
}

/// Plays a client, its app and a broker at random, and keeps the books that the feeds must agree with.
private final class FeedWalk {
    struct Totals {
        var beginnings = 0
        var held = 0
        var overflows = 0
        var gaps = 0
        var stale = 0
        var received = 0
        var recovered = 0
        var unrecovered = 0

        mutating func add(_ other: Totals) {
            beginnings += other.beginnings
            held += other.held
            overflows += other.overflows
            gaps += other.gaps
            stale += other.stale
            received += other.received
            recovered += other.recovered
            unrecovered += other.unrecovered
        }
    }

    private enum Place: Equatable {
        /// Asked, when the channel was at this offset.
        case asking(ChannelFeeds.Question, since: UInt64)
        case known
        case pending
        case live
    }

    private static let small = PreparedMessage(.text, ByteBuffer(string: "x"))
    private static let large = PreparedMessage(.text, ByteBuffer(repeating: 0x78, count: 100_000))

    private var feeds = ChannelFeeds()
    private var random: SeededRandom
    private let channels: [ChannelName]
    private var heads: [ChannelName: UInt64] = [:]
    /// What the history has everything behind of.
    private var bases: [ChannelName: UInt64] = [:]
    private var places: [ChannelName: Place] = [:]
    /// The last offset that the client has, or knows to be missing.
    private var client: [ChannelName: UInt64] = [:]
    private var oldQuestions: [ChannelFeeds.Question] = []
    private(set) var totals = Totals()
    private(set) var fault: String?

    init(seed: UInt64, _ channels: [ChannelName]) {
        random = SeededRandom(seed: seed)
        self.channels = channels
    }

    private func fail(_ text: String) { if fault == nil { fault = text } }
    private func head(_ channel: ChannelName) -> UInt64 { heads[channel] ?? 0 }
    private func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }

    func step() {
        let channel = channels[number(0...channels.count - 1)]
        switch number(0...15) {
        case 0, 1: if places[channel] == nil { join(channel) }
        case 2: if number(0...1) == 0 { leave(channel) }
        case 3...9: publish(channel)
        case 10: answer(channel, isAway: number(0...5) == 0)
        case 11: answerOldQuestion()
        case 12: if number(0...3) == 0 { engineReturns(losing: UInt64(number(0...2))) }
        case 13: if number(0...4) == 0 { leaveAndJoin(channel) }
        default: if number(0...2) == 0 { passOn(channel) }
        }
        check()
    }

    /// Everything that was asked is answered and passed on, and the engine is there.
    func end() {
        engineReturns(losing: 0)
        for channel in channels { answer(channel, isAway: false) }
        for channel in channels { passOn(channel) }
        check()
        if !feeds.isEmpty { fail("something is left at the end") }
        for (channel, place) in places {
            if place != .live { fail("\(channel) is not live at the end") }
            if client[channel] != head(channel) { fail("\(channel) is behind at the end") }
        }
    }

    private func check() {
        let isAsking = places.values.contains { if case .asking = $0 { true } else { false } }
        if feeds.isAsking != isAsking { fail("it is asking or it is not") }
        if feeds.isEmpty != places.values.allSatisfy({ $0 == .live }) { fail("it is empty or it is not") }
        let known = places.filter { $0.value == .known }.map(\.key)
        if Set(feeds.known) != Set(known) { fail("other channels are known") }
        for channel in channels {
            let isLive = places[channel] == nil || places[channel] == .live
            if feeds.isLive(channel) != isLive { fail("\(channel) is live or it is not") }
        }
    }

    // MARK: Events

    private func join(_ channel: ChannelName) {
        // Some clients return.
        let last = number(0...1) == 0 ? nil : UInt64.random(in: 0...head(channel), using: &random)
        ask(feeds.joined(channel, after: last.map { position($0) }))
    }

    private func ask(_ question: ChannelFeeds.Question) {
        if oldQuestions.contains(where: { $0.number == question.number }) { fail("a question with an old number") }
        places[question.channel] = .asking(question, since: head(question.channel))
    }

    private func leave(_ channel: ChannelName) {
        guard let place = places.removeValue(forKey: channel) else { return }
        if case .asking(let question, _) = place { oldQuestions.append(question) }
        client[channel] = nil
        feeds.left(channel)
    }

    private func leaveAndJoin(_ channel: ChannelName) {
        leave(channel)
        join(channel)
    }

    private func publish(_ channel: ChannelName) {
        let offset = head(channel) + 1
        heads[channel] = offset
        guard let place = places[channel] else { return }
        let delivery = published(number(0...3) == 0 ? Self.large : Self.small, channel, offset)
        if feeds.hold(delivery) {
            if place == .live { fail("held though it is live") }
            totals.held += 1
        } else {
            if place != .live { fail("not held though it is not live") }
            receive(offset, of: channel)
        }
    }

    private func answer(_ channel: ChannelName, isAway: Bool) {
        guard case .asking(let question, let since)? = places[channel] else { return }
        guard !isAway else {
            if feeds.answered(question, nil) != nil { fail("told without a position") }
            places[channel] = .pending
            oldQuestions.append(question)
            return
        }
        // The broker looked at any time since it was asked, and has what was not lost.
        let offset = UInt64.random(in: since...head(channel), using: &random)
        let last = question.known?.offset
        let isComplete = last.map { $0 >= bases[channel] ?? 0 } ?? true
        let missed: [UInt64] = isComplete ? last.map { Array(($0 + 1)..<(offset + 1)) } ?? [] : []
        let beginning = feeds.answered(question, replay(missed, isComplete: isComplete, to: offset))
        places[channel] = .known
        oldQuestions.append(question)
        let told = last != nil && isComplete ? last : offset
        if beginning?.position.offset != told { fail("another position than that of the broker") }
        if beginning?.isRecovered != last.map({ _ in isComplete }) { fail("recovered or not") }
    }

    private func answerOldQuestion() {
        guard let question = oldQuestions.randomElement(using: &random) else { return }
        totals.stale += 1
        let isAway = number(0...1) == 0
        if feeds.answered(question, isAway ? nil : replay(to: head(question.channel))) != nil {
            fail("an old question was answered")
        }
    }

    /// The engine was away: what was asked may come to nothing, and some messages are lost for ever.
    private func engineReturns(losing count: UInt64) {
        for channel in channels where number(0...1) == 0 { answer(channel, isAway: true) }
        for channel in channels {
            let offset = head(channel) + count
            heads[channel] = offset
            if count > 0 { bases[channel] = offset }
            let news = feeds.resumed(channel, isComplete: count == 0, at: position(offset))
            guard let place = places[channel] else { continue }  // of such a channel nobody asks
            switch (place, news) {
            case (.pending, .ask(let question)?): ask(question)
            case (.asking(let old, _), .ask(let question)?):
                if count == 0 { fail("asked again without a loss") }
                oldQuestions.append(old)
                ask(question)
            case (.asking, nil): if count > 0 { fail("an answer of before the loss counts") }
            case (.pending, .begins(let beginning)?):
                if beginning.position.offset != offset { fail("begins elsewhere") }
                places[channel] = .known
            case (.live, .gap?):
                if count == 0 { fail("a gap without a loss") }
                client[channel] = offset
                totals.gaps += 1
            case (.live, nil): if count > 0 { fail("a loss without a gap") }
            case (.known, nil): break
            default: fail("unexpected news")
            }
        }
    }

    // MARK: The client

    private func passOn(_ channel: ChannelName) {
        guard let beginning = feeds.beginning(of: channel) else {
            if places[channel] == .known { fail("known without a beginning") }
            return
        }
        if places[channel] != .known { fail("a beginning that is not known") }
        totals.beginnings += 1
        if beginning.isRecovered == true { totals.recovered += 1 }
        if beginning.isRecovered == false { totals.unrecovered += 1 }
        client[channel] = beginning.position.offset
        for message in beginning.replay { receive(message.offset, of: channel) }
        if client[channel] != beginning.upTo.offset { fail("a replay that ends elsewhere") }
        let held = feeds.passOn(channel)
        places[channel] = .live
        if let lost = held.lost {
            totals.overflows += 1
            if lost.position.offset <= beginning.upTo.offset { fail("a gap before the beginning") }
            client[channel] = lost.position.offset
        }
        for delivery in held.deliveries { receive(delivery.position.offset, of: channel) }
    }

    private func receive(_ offset: UInt64, of channel: ChannelName) {
        totals.received += 1
        let last = client[channel]
        if last.map({ $0 + 1 }) != offset {
            fail("\(channel): \(offset) behind \(last.map { "\($0)" } ?? "nothing")")
        }
        client[channel] = offset
    }
}
