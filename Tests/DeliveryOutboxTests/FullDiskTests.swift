import Testing

@testable import DeliveryOutbox

@Suite("While the disk is full")
struct FullDiskTests {
    private let scratch = Scratch()
    private let faults = Faults()

    @Test("Records are kept, told about once and written when there is room again")
    func retried() throws {
        let outbox = try DeliveryOutbox(scratch, faults) { $0.flushMilliseconds = 600_000 }
        outbox.opened(id: "a", context: [], identity: [], at: 1)
        outbox.opened(id: "b", context: [], identity: [], at: 1)
        outbox.accepted(id: "a", sequence: 2, format: 1, payload: [2], at: 1)
        #expect(outbox.flush())
        #expect(!outbox.isFailing)
        outbox.allowWriting(false)
        for sequence in UInt64(3)...8 {
            outbox.accepted(id: "a", sequence: sequence, format: 1, payload: [1, 1, 1], at: 1)
            #expect(!outbox.flush() && outbox.isFailing)
        }
        outbox.answered(id: "a", sequence: 2)
        outbox.answered(id: "a", sequence: 3)
        outbox.finished(id: "b")
        outbox.opened(id: "c", context: [], identity: [], at: 1)
        #expect(!outbox.flush())
        outbox.finished(id: "c")
        #expect(outbox.faults == 7)
        #expect(outbox.bytesBuffered == 5 * 131)
        #expect(faults.sentences.count == 1)
        #expect(faults.sentences.first?.contains("1 write failed") == true)
        outbox.allowWriting(true)
        #expect(outbox.flush() && !outbox.isFailing)
        #expect(outbox.droppedRecords == 0)
        #expect(outbox.bytesBuffered == 0)
        #expect(outbox.close())
        let found = try reopened(scratch)
        #expect(found.map(\.id) == ["a"])
        #expect(found.first?.messages.map(\.sequence) == [4, 5, 6, 7, 8])
        #expect(found.first?.messagesIn == 7)
        #expect(found.first?.lastAnswered == 3)
    }

    @Test("Beyond the bound the oldest messages go, counted, and just at it none")
    func bound() throws {
        let outbox = try DeliveryOutbox(scratch, faults) {
            $0.flushMilliseconds = 600_000
            $0.bufferedBytes = 10 * (128 + 100)
        }
        let payload = [UInt8](repeating: 1, count: 100)
        outbox.opened(id: "a", context: [], identity: [], at: 1)
        outbox.opened(id: "b", context: [], identity: [], at: 1)
        outbox.flush()
        outbox.allowWriting(false)
        for sequence in UInt64(2)...6 {
            outbox.accepted(id: "a", sequence: sequence, format: 1, payload: payload, at: 1)
            outbox.accepted(id: "b", sequence: sequence, format: 1, payload: payload, at: 1)
        }
        #expect(!outbox.flush())
        #expect(outbox.bytesBuffered == 2_280)
        #expect(outbox.droppedRecords == 0)
        outbox.accepted(id: "b", sequence: 7, format: 1, payload: [], at: 1)
        #expect(outbox.droppedRecords == 1)
        outbox.accepted(id: "b", sequence: 8, format: 1, payload: payload, at: 1)
        #expect(outbox.droppedRecords == 2)
        // One that cannot fit at all does not push the others out.
        outbox.accepted(id: "b", sequence: 9, format: 1, payload: [UInt8](repeating: 1, count: 2_153), at: 1)
        #expect(outbox.droppedRecords == 3)
        #expect(outbox.bytesBuffered <= 2_280)
        outbox.answered(id: "a", sequence: 2)
        outbox.allowWriting(true)
        #expect(outbox.close())
        let found = try reopened(scratch)
        #expect(found.map { $0.messages.map(\.sequence) } == [[3, 4, 5, 6], [3, 4, 5, 6, 7, 8]])
        #expect(found.map(\.messagesIn) == [5, 8])
        #expect(faults.sentences.last?.contains("3 records dropped") == true)
    }

    @Test("Writing is tried again without a flush")
    func bySelf() throws {
        let outbox = try DeliveryOutbox(scratch, faults) { $0.flushMilliseconds = 1 }
        outbox.allowWriting(false)
        outbox.opened(id: "a", context: [], identity: [], at: 1)
        outbox.accepted(id: "a", sequence: 2, format: 1, payload: [1], at: 1)
        while outbox.faults < 3 {}
        outbox.allowWriting(true)
        while outbox.bytesBuffered > 0 {}
        #expect(try reopened(scratch.copyAsIfKilled()).map(\.messages.count) == [1])
        outbox.close()
    }

    @Test("A close that cannot write says that records are lost")
    func lost() throws {
        let outbox = try DeliveryOutbox(scratch, faults) { $0.flushMilliseconds = 600_000 }
        outbox.allowWriting(false)
        outbox.opened(id: "a", context: [], identity: [], at: 1)
        #expect(!outbox.close())
        #expect(faults.sentences.last?.contains("the last records are lost") == true)
        #expect(try reopened(scratch).isEmpty)
    }

    @Test("Sentences come at once, then once per interval with the count of both")
    func report() {
        var report = FaultReport(interval: 60)
        func told(_ now: UInt64, _ failure: String? = "full", dropped: Int = 0) -> String? {
            report.sentence(failure: failure, refusedRows: 0, droppedRecords: dropped, now: now, isLast: false)
        }
        #expect(told(0, nil) == nil)
        #expect(told(100) == "The outbox could not keep everything: 1 write failed (full).")
        #expect(told(101) == nil)
        #expect(told(159, dropped: 4) == nil)
        #expect(
            told(160, dropped: 5)
                == "The outbox could not keep everything: 3 writes failed (full), 5 records dropped."
        )
        #expect(told(300, nil, dropped: 5) == nil)
    }
}
