import NIOCore
import Testing

@testable import SidecarCore

@Suite("The rate of pings and pongs")
struct ControlAllowanceTests {
    private let limit = GCRA(Rate(50, per: .seconds(1), burst: 3))
    private let interval: Int64 = 20_000_000

    @Test("a burst passes; from then on each frame costs a pause until its token is there")
    func burst() {
        var allowance = ControlAllowance()
        for _ in 0..<3 { #expect(allowance.take(.ping, limit, isDry: false, now: 0) == 0) }
        var now: Int64 = 0
        for frame in [ControlAllowance.Frame.ping, .pong, .ping] {
            let wait = allowance.take(frame, limit, isDry: false, now: now)
            #expect(wait == interval)
            now += wait
        }
    }

    @Test("who keeps to the rate never waits", arguments: [ControlAllowance.Frame.ping, .pong])
    func steady(frame: ControlAllowance.Frame) {
        var allowance = ControlAllowance()
        for round in 0..<500 {
            #expect(allowance.take(frame, limit, isDry: false, now: Int64(round) * interval) == 0)
        }
    }

    @Test("frames that are read at once after a pause are not forgotten", arguments: 1...5)
    func together(count: Int64) {
        var allowance = ControlAllowance()
        for _ in 0..<3 { _ = allowance.take(.ping, limit, isDry: false, now: 0) }
        var wait: Int64 = 0
        for _ in 0..<count { wait = allowance.take(.ping, limit, isDry: false, now: 0) }
        #expect(wait == count * interval)
    }

    @Test("a pong for each of our pings is free, and no other")
    func owed() {
        var allowance = ControlAllowance()
        for _ in 0..<3 { _ = allowance.take(.ping, limit, isDry: false, now: 0) }
        allowance.pingSent()
        allowance.pingSent()
        for _ in 0..<2 { #expect(allowance.take(.pong, limit, isDry: false, now: 0) == 0) }
        #expect(allowance.take(.pong, limit, isDry: false, now: 0) > 0)
        allowance.pingSent()
        #expect(allowance.take(.ping, limit, isDry: false, now: 0) > 0, "a ping is no answer")
    }

    @Test("in a dry run what comes too soon is told and leaves no debt")
    func dry() {
        var allowance = ControlAllowance()
        for _ in 0..<3 { _ = allowance.take(.ping, limit, isDry: true, now: 0) }
        for _ in 0..<100 { #expect(allowance.take(.ping, limit, isDry: true, now: 0) == interval) }
        #expect(allowance.take(.ping, limit, isDry: true, now: interval) == 0)
    }

    @Test("without a rate nobody waits")
    func off() {
        var allowance = ControlAllowance()
        for _ in 0..<10_000 { #expect(allowance.take(.ping, nil, isDry: false, now: 0) == 0) }
    }

    @Test("another rate holds at once")
    func changed() {
        var allowance = ControlAllowance()
        for _ in 0..<4 { _ = allowance.take(.ping, limit, isDry: false, now: 0) }
        #expect(allowance.take(.ping, nil, isDry: false, now: 0) == 0)
        #expect(allowance.take(.ping, GCRA(Rate(50, per: .seconds(1), burst: 50)), isDry: false, now: 0) == 0)
    }
}
