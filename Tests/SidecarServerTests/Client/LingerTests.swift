import NIOCore
import Testing

@testable import SidecarServer

@Suite("Waiting for a client's end")
struct LingerTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    @Test("It closes at the first deadline when nothing is left to send")
    func nothingLeft() {
        var linger = Linger(patience: .seconds(10))
        let first = linger.begin(at: start)
        #expect(first == start + ServerConfiguration.linger)
        let step = linger.deadlineReached(unsentBytes: 0, at: first)
        #expect(step == .close)
    }

    @Test("Who takes some is waited for, and who has taken nothing for that long is not")
    func patience() {
        var linger = Linger(patience: .seconds(10))
        var now = linger.begin(at: start)
        for unsent in [500, 499, 100] {
            let step = linger.deadlineReached(unsentBytes: unsent, at: now)
            #expect(step == .wait(until: now + ServerConfiguration.linger))
            now = now + ServerConfiguration.linger
        }
        // The last progress was seen one step ago.
        let seen = now - ServerConfiguration.linger
        let inTime = linger.deadlineReached(unsentBytes: 100, at: seen + .seconds(10) - .nanoseconds(1))
        #expect(inTime != .close)
        let late = linger.deadlineReached(unsentBytes: 100, at: seen + .seconds(10))
        #expect(late == .close)
    }

    @Test("It can begin again, with a patience of its own")
    func again() {
        var linger = Linger(patience: .seconds(10))
        let first = linger.begin(at: start)
        _ = linger.deadlineReached(unsentBytes: 100, at: first)
        let second = linger.begin(at: first + .seconds(60))
        let step = linger.deadlineReached(unsentBytes: 100, at: second)
        #expect(step == .wait(until: second + ServerConfiguration.linger))
    }
}
