import NIOCore
import Testing

@testable import SidecarCore

@Suite("What the app is told of channels")
struct OccupancyWatchTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    private let room: ChannelName
    private let other: ChannelName

    init() throws {
        room = try #require(ChannelName("room"))
        other = try #require(ChannelName("other"))
    }

    private func after(_ seconds: Double) -> NIODeadline { start + .nanoseconds(Int64(seconds * 1e9)) }
    private func occupied(_ channel: ChannelName) -> OccupancyEvent {
        OccupancyEvent(channel: channel, isOccupied: true)
    }
    private func vacated(_ channel: ChannelName) -> OccupancyEvent {
        OccupancyEvent(channel: channel, isOccupied: false)
    }

    @Test("With several nodes, a change that is undone in time is given back; with one there is nothing to give")
    func undone() {
        for isShared in [true, false] {
            var watch = OccupancyWatch(isShared: isShared)
            watch.changed(room, isOccupied: true, at: start)
            watch.changed(room, isOccupied: false, at: after(1))
            #expect(watch.next(at: after(10)) == nil)
            #expect(watch.takeUndone() == (isShared ? [vacated(room)] : []))
            #expect(watch.takeUndone() == [])
            watch.changed(other, isOccupied: true, at: after(20))
            #expect(watch.next(at: after(30)) == occupied(other))
            watch.reported(other, at: after(30))
            #expect(watch.takeUndone() == [])
        }
    }

    @Test("A change that lasts is told once, after the pause")
    func lasting() {
        var watch = OccupancyWatch()
        watch.changed(room, isOccupied: true, at: start)
        #expect(watch.next(at: after(4.9)) == nil)
        #expect(watch.next(at: after(5)) == occupied(room))
        #expect(watch.next(at: after(50)) == nil)
        #expect(!watch.isSettled)
        watch.reported(room, at: after(5.1))
        #expect(watch.isSettled)
        watch.changed(room, isOccupied: false, at: after(60))
        #expect(watch.next(at: after(65)) == vacated(room))
        watch.reported(room, at: after(65))
        #expect(watch.next(at: after(100)) == nil)
        #expect(watch.isSettled)
    }

    @Test("Who comes and goes within the pause is no event, neither is who goes and comes back")
    func flapping() {
        var watch = OccupancyWatch()
        for second in [0.0, 2, 4, 6] {
            watch.changed(room, isOccupied: true, at: after(second))
            watch.changed(room, isOccupied: false, at: after(second + 1))
            #expect(watch.next(at: after(second + 1.5)) == nil)
        }
        #expect(watch.next(at: after(20)) == nil)
        watch.changed(room, isOccupied: true, at: after(21))
        #expect(watch.next(at: after(26)) == occupied(room))
        watch.reported(room, at: after(26))
        watch.changed(room, isOccupied: false, at: after(30))
        watch.changed(room, isOccupied: true, at: after(34.9))
        #expect(watch.next(at: after(60)) == nil)
        #expect(watch.isSettled)
    }

    @Test("Only one event of a channel is in flight; others don't wait for it")
    func oneInFlight() {
        var watch = OccupancyWatch()
        watch.changed(room, isOccupied: true, at: start)
        #expect(watch.next(at: after(5)) == occupied(room))
        watch.changed(room, isOccupied: false, at: after(6))
        watch.changed(other, isOccupied: true, at: after(6))
        #expect(watch.next(at: after(11)) == occupied(other))
        #expect(watch.next(at: after(30)) == nil)
        #expect(watch.unreported == 2)
        watch.reported(room, at: after(30))
        #expect(watch.next(at: after(30)) == vacated(room))
        watch.reported(room, at: after(31))
        watch.reported(other, at: after(31))
        #expect(watch.isSettled)
    }

    @Test("An app that could not be reached is told again, of what is so then")
    func toldAnew() {
        var watch = OccupancyWatch()
        watch.changed(room, isOccupied: true, at: start)
        #expect(watch.next(at: after(5)) == occupied(room))
        let isToldLater = watch.notReported(room, at: after(6))
        #expect(isToldLater && watch.unreported == 1)
        #expect(watch.next(at: after(10.9)) == nil)
        #expect(watch.next(at: after(11)) == occupied(room))
        // Who leaves meanwhile was never there for the app.
        watch.changed(room, isOccupied: false, at: after(12))
        _ = watch.notReported(room, at: after(13))
        #expect(watch.next(at: after(40)) == nil)
        #expect(watch.isSettled)
    }

    @Test("At the end an app that cannot be reached is not told again")
    func notToldAtTheEnd() {
        var watch = OccupancyWatch()
        watch.changed(room, isOccupied: true, at: start)
        #expect(watch.next(at: after(5)) != nil)
        watch.flush()
        let isToldLater = watch.notReported(room, at: after(6))
        #expect(!isToldLater)
        #expect(watch.next(at: after(60)) == nil)
    }

    @Test("What has not lasted yet when the one before is answered still has its pause")
    func pauseAfterAnswer() {
        var watch = OccupancyWatch()
        watch.changed(room, isOccupied: true, at: start)
        #expect(watch.next(at: after(5)) == occupied(room))
        watch.changed(room, isOccupied: false, at: after(6))
        watch.reported(room, at: after(7))
        #expect(watch.next(at: after(10.9)) == nil)
        #expect(watch.next(at: after(11)) == vacated(room))
    }

    @Test("At the end everything is due at once, and only what the app was told of is taken back")
    func flush() {
        var watch = OccupancyWatch()
        watch.changed(room, isOccupied: true, at: start)
        #expect(watch.next(at: after(5)) == occupied(room))
        watch.reported(room, at: after(5))
        watch.changed(other, isOccupied: true, at: after(6))
        watch.changed(other, isOccupied: false, at: after(6))
        watch.changed(room, isOccupied: false, at: after(6))
        watch.flush()
        #expect(watch.next(at: after(6)) == vacated(room))
        #expect(watch.next(at: after(6)) == nil)
        watch.reported(room, at: after(6))
        #expect(watch.isSettled)
    }

    @Test("At the end nobody is told of new subscribers, who will leave at once")
    func flushWithNewSubscribers() {
        var watch = OccupancyWatch()
        watch.changed(room, isOccupied: true, at: start)
        watch.changed(other, isOccupied: true, at: start)
        #expect(watch.next(at: after(5)) != nil)
        watch.flush()
        #expect(watch.next(at: after(5)) == nil)
        #expect(watch.unreported == 1)
        watch.reported(room, at: after(5))
        watch.changed(other, isOccupied: false, at: after(6))
        watch.changed(room, isOccupied: false, at: after(6))
        #expect(watch.next(at: after(6)) == vacated(room))
        #expect(watch.next(at: after(6)) == nil)
        watch.reported(room, at: after(6))
        #expect(watch.isSettled)
    }

    @Test("Random changes end with what is so, each event a change from the one before")
    func random() {
        var generator = SystemRandomNumberGenerator()
        var watch = OccupancyWatch()
        var isOccupied = false
        var told = false
        var isInFlight = false
        for step in 0..<5_000 {
            let now = after(Double(step))
            switch Int.random(in: 0..<4, using: &generator) {
            case 0:
                isOccupied.toggle()
                watch.changed(room, isOccupied: isOccupied, at: now)
            case 1 where isInFlight:
                isInFlight = false
                watch.reported(room, at: now)
            default:
                guard let event = watch.next(at: now) else { continue }
                #expect(event.isOccupied != told)
                #expect(!isInFlight)
                told = event.isOccupied
                isInFlight = true
            }
        }
        watch.reported(room, at: after(6_000))
        if let event = watch.next(at: after(6_010)) {
            told = event.isOccupied
            watch.reported(room, at: after(6_010))
        }
        #expect(told == isOccupied)
        #expect(watch.isSettled)
    }
}

@Suite("When several nodes tell the app of channels")
struct SharedOccupancyTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private func event(_ isOccupied: Bool) throws -> OccupancyEvent {
        OccupancyEvent(channel: try #require(ChannelName("c")), isOccupied: isOccupied)
    }

    @Test("Each change is told, whatever this node has told before", arguments: [true, false])
    func each(isOccupied: Bool) throws {
        let channel = try #require(ChannelName("c"))
        var watch = OccupancyWatch(isShared: true)
        for round in Int64(0)..<2 {
            let now = start + .seconds(round * 60)
            watch.changed(channel, isOccupied: isOccupied, at: now)
            #expect(watch.next(at: now + .seconds(4)) == nil)
            #expect(try watch.next(at: now + .seconds(5)) == event(isOccupied))
            watch.reported(channel, at: now + .seconds(6))
            #expect(watch.isSettled && watch.next(at: now + .seconds(59)) == nil)
        }
    }

    @Test("Changes that undo each other before they are told produce no event")
    func undone() throws {
        let channel = try #require(ChannelName("c"))
        var watch = OccupancyWatch(isShared: true)
        watch.changed(channel, isOccupied: false, at: start)
        watch.changed(channel, isOccupied: true, at: start + .seconds(1))
        #expect(watch.next(at: start + .seconds(60)) == nil && watch.isSettled)
        watch.changed(channel, isOccupied: true, at: start + .seconds(61))
        #expect(try watch.next(at: start + .seconds(66)) == event(true))
    }

    @Test("What could not be told is told later")
    func later() throws {
        let channel = try #require(ChannelName("c"))
        var watch = OccupancyWatch(isShared: true)
        watch.changed(channel, isOccupied: true, at: start)
        #expect(try watch.next(at: start + .seconds(5)) == event(true))
        let isRetried = watch.notReported(channel, at: start + .seconds(6))
        #expect(isRetried)
        #expect(try watch.next(at: start + .seconds(11)) == event(true))
        watch.reported(channel, at: start + .seconds(12))
        #expect(watch.isSettled)
    }
}
