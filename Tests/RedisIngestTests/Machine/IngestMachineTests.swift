import NIOCore
import TestSupport
import Testing

@testable import RedisIngest

@Suite("Lease, reader and end together")
struct IngestMachineTests {
    private var generator = SeededRandom(seed: 2)
    private var timing: IngestTiming {
        var timing = IngestTiming()
        timing.gathering = .zero
        return timing
    }

    private func at(_ milliseconds: Int64) -> NIODeadline { .uptimeNanoseconds(0) + .milliseconds(milliseconds) }

    /// A machine that reads what is new, with this under way.
    private mutating func reading(_ entries: [TakenEntry]) -> IngestMachine {
        var machine = IngestMachine(timing, at: at(0))
        _ = machine.next(at: at(0))
        machine.leaseAcquired(at: at(1))
        while let action = machine.next(at: at(1)) {
            if case .reader(.read) = action { break }
        }
        machine.answered(.taken(entries, .nothing, lastDelivered: nil), at: at(1), using: &generator)
        while machine.next(at: at(1)) != nil {}
        return machine
    }

    @Test("The lease comes before reading")
    mutating func start() {
        var machine = IngestMachine(timing, at: at(0))
        #expect(machine.next(at: at(0)) == .acquireLease(groupStart: nil))
        #expect(machine.next(at: at(0)) == nil)
        machine.leaseAcquired(at: at(1))
        #expect(machine.next(at: at(1)) == .reportGained)
        #expect(machine.next(at: at(1)) == .reader(.read(after: .zero, count: 100, bytes: 4 << 20)))
        #expect(machine.next(at: at(1)) == nil && machine.nextDue == at(2_000))
    }

    @Test("Without renewals publishing ends before another node can have the lease")
    mutating func expiry() throws {
        var machine = reading([Items.message(1), Items.message(2)])
        #expect(machine.next(at: at(2_000)) == .renewLease)
        machine.finished(try #require(Items.item(1, at: at(1))), at: at(101))
        #expect(machine.next(at: at(5_000)) == .reportLost(.expired))
        #expect(machine.next(at: at(5_000)) == .reader(.acknowledge([Items.id(1)])))
        #expect(machine.next(at: at(5_000)) == nil)
        machine.leaseFailed(at: at(5_001), using: &generator)
        let due = try #require(machine.nextDue)
        #expect(machine.next(at: due) == .acquireLease(groupStart: EntryID(0, .max)))
    }

    @Test("A refused read or renewal ends reading at once")
    mutating func refusals() throws {
        var machine = reading([Items.message(1)])
        #expect(machine.next(at: at(2_000)) == .renewLease)
        machine.leaseRefused(at: at(2_001), using: &generator)
        #expect(machine.next(at: at(2_001)) == .reportLost(.taken) && machine.next(at: at(2_001)) == nil)

        var other = IngestMachine(timing, at: at(0))
        _ = other.next(at: at(0))
        other.leaseAcquired(at: at(1))
        while other.next(at: at(1)) != nil {}
        other.readRefused(at: at(2), using: &generator)
        #expect(other.next(at: at(2)) == .reportLost(.taken))
        #expect(other.next(at: at(2)) == .acquireLease(groupStart: nil))
        other.leaseRefused(at: at(3), using: &generator)
        #expect(other.next(at: at(3)) == nil)
    }

    @Test("A missing group is made again while the lease goes on, and what waits stays")
    mutating func missingGroup() throws {
        var machine = IngestMachine(timing, at: at(0))
        _ = machine.next(at: at(0))
        machine.leaseAcquired(at: at(1))
        while machine.next(at: at(1)) != nil {}
        machine.answered(.groupMissing, at: at(2), using: &generator)
        #expect(machine.next(at: at(2)) == nil)
        let due = try #require(machine.nextDue)
        #expect(due > at(2) && due < at(200))
        #expect(machine.next(at: due) == .acquireLease(groupStart: nil))
        machine.leaseAcquired(at: due)
        #expect(machine.next(at: due) == .reader(.read(after: .zero, count: 100, bytes: 4 << 20)))
    }

    @Test("At the end nothing new is begun, what is under way is acknowledged, and the lease given up")
    mutating func stop() throws {
        var machine = reading([Items.message(1), Items.message(2), Items.message(3, "b")])
        machine.stop(at: at(100))
        #expect(machine.next(at: at(100)) == nil && machine.nextDue == at(5_100))
        machine.finished(try #require(Items.item(1, at: at(1))), at: at(101))
        #expect(machine.next(at: at(110)) == .reader(.acknowledge([Items.id(1)])))
        // What fails now is for the next reader.
        machine.postponed(try #require(Items.item(3, "b", at: at(1))), at: at(120), using: &generator)
        #expect(machine.next(at: at(120)) == nil)
        machine.acknowledged(true, at: at(130), using: &generator)
        #expect(machine.next(at: at(130)) == .releaseLease && machine.next(at: at(130)) == nil)
        machine.leaseReleased()
        #expect(machine.next(at: at(131)) == .close && machine.next(at: at(131)) == nil && machine.nextDue == nil)
    }

    @Test("The end does not wait for longer than its deadline")
    mutating func deadline() {
        var machine = reading([Items.message(1)])
        machine.stop(at: at(100))
        #expect(machine.next(at: at(5_099)) == nil)
        #expect(machine.next(at: at(5_100)) == .releaseLease)
    }

    @Test("Who never asked for the lease closes at once, and who waits for its answer gives it up")
    mutating func earlyStop() {
        var machine = IngestMachine(timing, at: at(0))
        machine.stop(at: at(0))
        #expect(machine.next(at: at(0)) == .close)

        var other = IngestMachine(timing, at: at(0))
        _ = other.next(at: at(0))
        other.stop(at: at(1))
        #expect(other.next(at: at(1)) == .releaseLease)
        other.leaseAcquired(at: at(2))
        #expect(other.next(at: at(2)) == nil)
        other.leaseReleased()
        #expect(other.next(at: at(3)) == .close)
    }
}
