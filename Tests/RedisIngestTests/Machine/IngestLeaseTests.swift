import NIOCore
import TestSupport
import Testing

@testable import RedisIngest

@Suite("The lease of a stream")
struct IngestLeaseTests {
    private var timing: IngestTiming {
        var timing = IngestTiming()
        timing.lease = .seconds(6)
        timing.renewal = .seconds(2)
        timing.contention = .milliseconds(250) ... .milliseconds(500)
        timing.pauses = .milliseconds(50) ... .seconds(5)
        return timing
    }

    private func at(_ milliseconds: Int64) -> NIODeadline { .uptimeNanoseconds(0) + .milliseconds(milliseconds) }

    private func held() -> IngestLease {
        var lease = IngestLease(timing, at: at(0))
        _ = lease.next(at: at(0))
        lease.granted(at: at(10))
        return lease
    }

    @Test("It is acquired, renewed in time, and ends here a margin before it ends at the server")
    func life() {
        var lease = IngestLease(timing, at: at(0))
        #expect(lease.next(at: at(0)) == .acquire)
        #expect(lease.next(at: at(5)) == nil && !lease.isHeld(at: at(5)))
        lease.granted(at: at(10))
        #expect(lease.nextDue == at(2_000))
        #expect(lease.next(at: at(1_999)) == nil)
        #expect(lease.next(at: at(2_000)) == .renew)
        lease.granted(at: at(2_100))
        // Counted from the question, since the answer may have been long on its way.
        #expect(lease.isHeld(at: at(6_999)) && !lease.isHeld(at: at(7_000)))
        #expect(lease.nextDue == at(4_000))
    }

    @Test("While another node has it, it is asked for at random within the range")
    func contention() {
        var generator = SeededRandom(seed: 3)
        var lease = IngestLease(timing, at: at(0))
        for _ in 0..<20 {
            let now = lease.nextDue ?? at(0)
            #expect(lease.next(at: now) == .acquire)
            lease.refused(at: now, using: &generator)
            let pause = (lease.nextDue ?? now) - now
            #expect(pause >= .milliseconds(250) && pause <= .milliseconds(500))
        }
        #expect(!lease.mayBeKnown)
    }

    @Test("A renewal that fails is tried again until the lease is over, which is told once")
    func expiry() {
        var generator = SeededRandom(seed: 3)
        var lease = held()
        var attempts = 0
        var now = at(2_000)
        while lease.isHeld(at: now) {
            if lease.next(at: now) == .renew {
                attempts += 1
                lease.failed(at: now, using: &generator)
            }
            #expect((lease.nextDue ?? now) > now)
            now = lease.nextDue ?? now
        }
        #expect(attempts > 1 && attempts < 50 && now == at(5_000))
        #expect(lease.takeExpiry(at: now) && !lease.takeExpiry(at: now))
        #expect(lease.next(at: now) == .acquire)
    }

    @Test("A renewal that is answered after the end does not bring the lease back")
    func lateRenewal() {
        var lease = held()
        #expect(lease.next(at: at(2_000)) == .renew)
        #expect(lease.takeExpiry(at: at(5_000)) == true)
        lease.granted(at: at(5_100))
        #expect(!lease.isHeld(at: at(5_100)) && lease.next(at: at(5_100)) == .acquire)
    }

    @Test("An answer that comes when its own lease is over grants nothing")
    func lateAcquisition() {
        var lease = IngestLease(timing, at: at(0))
        #expect(lease.next(at: at(0)) == .acquire)
        lease.granted(at: at(5_001))
        #expect(!lease.isHeld(at: at(5_001)) && lease.takeExpiry(at: at(5_001)))
    }

    @Test("A missing group is made by acquiring once more, while the lease goes on")
    func missingGroup() {
        var generator = SeededRandom(seed: 3)
        var lease = held()
        lease.groupIsMissing(next: at(100))
        #expect(lease.isHeld(at: at(100)) && lease.nextDue == at(100))
        #expect(lease.next(at: at(100)) == .acquire)
        lease.failed(at: at(110), using: &generator)
        let next = lease.nextDue ?? at(0)
        #expect(next > at(110) && lease.next(at: next) == .acquire)
        lease.granted(at: next)
        #expect(lease.next(at: next + .seconds(2)) == .renew)
    }

    @Test("The server may know us from the first question on, until it names another node")
    func known() {
        var generator = SeededRandom(seed: 3)
        var lease = IngestLease(timing, at: at(0))
        #expect(!lease.mayBeKnown)
        _ = lease.next(at: at(0))
        lease.failed(at: at(10), using: &generator)
        #expect(lease.mayBeKnown)
        _ = lease.next(at: at(1_000))
        lease.refused(at: at(1_010), using: &generator)
        #expect(!lease.mayBeKnown)
    }
}
