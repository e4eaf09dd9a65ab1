import NIOCore
import Testing

@testable import SidecarCore

@Suite("What one connection may send")
struct MessageAllowanceTests {
    private let second: Int64 = 1_000_000_000

    private func gcra(_ count: Int64, burst: Int64? = nil) -> GCRA {
        GCRA(Rate(count, per: .seconds(1), burst: burst))
    }

    private func debt(_ allowance: inout MessageAllowance, bytes: Int = 1) -> MessageAllowance.Excess? {
        allowance.takeInDebt(payloadBytes: bytes, now: 0) { _ in }
    }

    @Test("a connection without limits sends what it likes, until it shares one, and again when it does not")
    func unlimited() {
        var allowance = MessageAllowance(perConnection: nil, bytes: nil, dryRun: [])
        #expect(isUnlimited(&allowance))
        allowance.share(withUser: SharedBucket(gcra(1)))
        #expect(!isUnlimited(&allowance))
        allowance.share(withUser: nil)
        #expect(isUnlimited(&allowance))
    }

    private func isUnlimited(_ allowance: inout MessageAllowance) -> Bool {
        for _ in 0..<100 {
            if debt(&allowance, bytes: 1 << 30) != nil { return false }
            if allowance.take(payloadBytes: 1 << 30, now: 0, overstepped: { _ in }) != nil { return false }
        }
        return true
    }

    @Test("the message after the burst has to wait, the burst itself does not")
    func throttle() {
        var allowance = MessageAllowance(perConnection: gcra(10, burst: 3), bytes: nil, dryRun: [])
        for _ in 1...2 {
            let wait = debt(&allowance)
            #expect(wait == nil)
        }
        let excess = debt(&allowance)
        #expect(excess?.limit == .messageRate)
        #expect(excess?.wait == second / 10)
        // After that pause one more fits.
        let later = allowance.takeInDebt(payloadBytes: 1, now: second / 10) { _ in }
        #expect(later?.wait == second / 10)
    }

    @Test("the limit that asks for the longest pause is the one that is named")
    func longest() {
        var allowance = MessageAllowance(perConnection: gcra(10, burst: 1), bytes: gcra(100, burst: 100), dryRun: [])
        let excess = debt(&allowance, bytes: 1_000)
        #expect(excess?.limit == .byteRate)
    }

    @Test("connections of one address share its bucket")
    func shared() {
        let bucket = SharedBucket(gcra(1, burst: 2))
        var first = MessageAllowance(perConnection: nil, bytes: nil, dryRun: [])
        var second = MessageAllowance(perConnection: nil, bytes: nil, dryRun: [])
        first.share(withAddress: bucket)
        second.share(withAddress: bucket)
        let refusals = [
            first.take(payloadBytes: 1, now: 0) { _ in },
            second.take(payloadBytes: 1, now: 0) { _ in },
            first.take(payloadBytes: 1, now: 0) { _ in },
        ]
        #expect(refusals == [nil, nil, .messageRatePerIP])
    }

    @Test("a limit in a dry run is told and lets pass", arguments: [true, false])
    func dryRun(inDebt: Bool) {
        var allowance = MessageAllowance(perConnection: gcra(1, burst: 1), bytes: nil, dryRun: [.messageRate])
        var told = 0
        for _ in 1...3 {
            let limit =
                inDebt
                ? allowance.takeInDebt(payloadBytes: 1, now: 0) { _ in told += 1 }?.limit
                : allowance.take(payloadBytes: 1, now: 0) { _ in told += 1 }
            #expect(limit == nil)
        }
        #expect(told == 2)
    }

    @Test("in a dry run who keeps to the limit is not told of")
    func dryRunWithinTheLimit() {
        var allowance = MessageAllowance(perConnection: gcra(1, burst: 1), bytes: nil, dryRun: [.messageRate])
        for turn in 0..<5 {
            let excess = allowance.takeInDebt(payloadBytes: 1, now: Int64(turn) * second) { _ in
                Issue.record("told of")
            }
            #expect(excess == nil)
        }
    }

    @Test("other limits hold at once, and what was sent before counts")
    func change() {
        var allowance = MessageAllowance(perConnection: gcra(10, burst: 3), bytes: nil, dryRun: [])
        _ = allowance.takeInDebt(payloadBytes: 1, now: 0) { _ in }
        allowance.change(perConnection: gcra(10, burst: 1), bytes: nil, dryRun: [])
        #expect(allowance.take(payloadBytes: 1, now: 0) { _ in } == .messageRate)
        allowance.change(perConnection: nil, bytes: nil, dryRun: [])
        #expect(isUnlimited(&allowance))
    }
}

@Suite("The last bytes of a connection")
struct FlushWatchTests {
    @Test("a reader that takes bytes within the patience goes on, one that takes none does not")
    func progress() {
        let start = NIODeadline.uptimeNanoseconds(1_000)
        var watch = FlushWatch(patience: .seconds(10))
        watch.begin(at: start)
        func check(_ unsent: Int, _ seconds: Int64, _ expected: Bool) {
            let isProgressing = watch.isProgressing(unsentBytes: unsent, at: start + .seconds(seconds))
            #expect(isProgressing == expected, "\(unsent) bytes at \(seconds) s")
        }
        check(100, 2, true)
        check(99, 11, true)
        check(99, 20, true)
        check(99, 21, false)
        check(0, 3, false)
    }
}
