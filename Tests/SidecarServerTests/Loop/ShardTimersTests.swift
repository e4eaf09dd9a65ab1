import NIOCore
import NIOEmbedded
import Testing

@testable import SidecarServer

/// Records when its deadlines came.
private final class Owner: TimerOwner {
    private let name: String
    private let record: Record
    /// What it says to the next deadlines.
    var answers: [NIODeadline] = []
    /// What it does at a deadline.
    var onDeadline: (() -> Void)?

    init(_ name: String = "", _ record: Record = Record()) {
        self.name = name
        self.record = record
    }

    var times: [Int64] { record.times }

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        record.names.append(name)
        record.times.append(Int64(now.uptimeNanoseconds / 1_000_000))
        onDeadline?()
        return answers.isEmpty ? nil : answers.removeFirst()
    }
}

private final class Record {
    var names: [String] = []
    /// In milliseconds.
    var times: [Int64] = []
}

/// Deadlines are met within a tick of fifty milliseconds.
@Suite("The timers of a loop")
struct ShardTimersTests {
    private func at(_ milliseconds: Int64) -> NIODeadline { .uptimeNanoseconds(0) + .milliseconds(milliseconds) }

    @Test("A deadline is met not before its time, and at most a tick after it", arguments: [1, 50, 99, 100, 101, 999])
    func within(milliseconds: Int64) {
        let loop = EmbeddedEventLoop()
        let timers = ShardTimers(eventLoop: loop)
        let owner = Owner()
        timers.arm(TimerEntry(), owner: owner, at: at(milliseconds))
        loop.advanceTime(by: .seconds(2))
        #expect(owner.times.count == 1)
        #expect(owner.times.allSatisfy { (milliseconds...(milliseconds + 50)).contains($0) })
    }

    @Test("It is so after a rest, and beyond the span of the wheel", arguments: [10, 25_600, 60_000])
    func later(milliseconds: Int64) {
        let loop = EmbeddedEventLoop()
        let timers = ShardTimers(eventLoop: loop)
        let owner = Owner()
        timers.arm(TimerEntry(), owner: owner, at: at(20))
        loop.advanceTime(to: at(3_007))
        timers.arm(TimerEntry(), owner: owner, at: at(3_007 + milliseconds))
        loop.advanceTime(by: .seconds(100))
        #expect(owner.times.count == 2)
        let late = (owner.times.last ?? 0) - 3_007 - milliseconds
        #expect((0...100).contains(late))
    }

    @Test("Deadlines come in their order")
    func order() {
        let loop = EmbeddedEventLoop()
        let timers = ShardTimers(eventLoop: loop)
        let record = Record()
        let owners = [300, 100, 200, 101, 0].map { (Owner("\($0)", record), Int64($0)) }
        for (owner, time) in owners { timers.arm(TimerEntry(), owner: owner, at: at(time)) }
        loop.advanceTime(by: .seconds(1))
        #expect(record.names == ["0", "100", "101", "200", "300"])
    }

    @Test("A later deadline replaces an earlier one, and an earlier one a later")
    func rearmed() {
        let loop = EmbeddedEventLoop()
        let timers = ShardTimers(eventLoop: loop)
        let (postponed, hurried) = (Owner(), Owner())
        let (first, second) = (TimerEntry(), TimerEntry())
        timers.arm(first, owner: postponed, at: at(100))
        timers.arm(first, owner: postponed, at: at(500))
        timers.arm(second, owner: hurried, at: at(5_000))
        timers.arm(second, owner: hurried, at: at(200))
        loop.advanceTime(to: at(490))
        #expect(postponed.times == [])
        loop.advanceTime(by: .seconds(10))
        #expect(postponed.times == [500])
        #expect(hurried.times == [200])
    }

    @Test("The owner names its next deadline itself")
    func repeated() {
        let loop = EmbeddedEventLoop()
        let timers = ShardTimers(eventLoop: loop)
        let owner = Owner()
        owner.answers = [at(250), at(400)]
        timers.arm(TimerEntry(), owner: owner, at: at(100))
        loop.advanceTime(by: .seconds(10))
        #expect(owner.times == [100, 250, 400])
    }

    @Test("A cancelled deadline never comes, but one that is armed after it does")
    func cancelled() {
        let loop = EmbeddedEventLoop()
        let timers = ShardTimers(eventLoop: loop)
        let (gone, back) = (Owner(), Owner())
        let (first, second) = (TimerEntry(), TimerEntry())
        timers.arm(first, owner: gone, at: at(100))
        timers.arm(second, owner: back, at: at(100))
        timers.cancel(first)
        timers.cancel(first)
        timers.cancel(second)
        timers.arm(second, owner: back, at: at(200))
        loop.advanceTime(by: .seconds(10))
        #expect(gone.times == [])
        #expect(back.times == [200])
    }

    @Test("One deadline may cancel another of the same tick, or arm it")
    func withinATurn() {
        let loop = EmbeddedEventLoop()
        let timers = ShardTimers(eventLoop: loop)
        let (first, second, third) = (Owner(), Owner(), Owner())
        let (doomed, new) = (TimerEntry(), TimerEntry())
        first.onDeadline = {
            timers.cancel(doomed)
            timers.arm(new, owner: third, at: self.at(100))
        }
        timers.arm(TimerEntry(), owner: first, at: at(100))
        timers.arm(doomed, owner: second, at: at(100))
        loop.advanceTime(by: .seconds(1))
        #expect(first.times == [100] && second.times == [])
        #expect(third.times == [150], "its time has come, so it is the next tick")
    }

    @Test("An owner is kept until its deadline has come or was cancelled, and no longer")
    func keepsOwners() {
        let loop = EmbeddedEventLoop()
        let timers = ShardTimers(eventLoop: loop)
        let entry = TimerEntry()
        weak var due: Owner?
        weak var cancelled: Owner?
        do {
            let owners = (Owner(), Owner())
            (due, cancelled) = (owners.0, owners.1)
            timers.arm(TimerEntry(), owner: owners.0, at: at(100))
            timers.arm(entry, owner: owners.1, at: at(100))
        }
        #expect(due != nil && cancelled != nil)
        timers.cancel(entry)
        #expect(cancelled == nil)
        loop.advanceTime(by: .seconds(1))
        #expect(due == nil)
    }

    // MARK: With a callback

    @Test("Of a callback the last deadline and the last action count")
    func callback() {
        let loop = EmbeddedEventLoop()
        let timers = ShardTimers(eventLoop: loop)
        let timer = CallbackTimer()
        var called: [String] = []
        timer.arm(in: timers, at: at(100)) { _ in called.append("first") }
        timer.arm(in: timers, at: at(300)) { _ in called.append("second") }
        loop.advanceTime(to: at(290))
        #expect(called == [])
        loop.advanceTime(by: .seconds(1))
        #expect(called == ["second"])
        timer.arm(in: timers, at: at(2_000)) { _ in called.append("third") }
        timer.cancel(in: timers)
        loop.advanceTime(by: .seconds(10))
        #expect(called == ["second"])
    }

    @Test("A callback may arm its timer again")
    func callbackAgain() {
        let loop = EmbeddedEventLoop()
        let timers = ShardTimers(eventLoop: loop)
        let timer = CallbackTimer()
        var times: [Int64] = []
        func again(_ now: NIODeadline) {
            times.append(Int64(now.uptimeNanoseconds / 1_000_000))
            if times.count < 3 { timer.arm(in: timers, at: now + .milliseconds(100), again) }
        }
        timer.arm(in: timers, at: at(100), again)
        loop.advanceTime(by: .seconds(1))
        #expect(times == [100, 200, 300])
    }
}
