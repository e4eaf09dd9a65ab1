import Testing

@testable import DeliveryOutbox

@Suite("What is noted comes back")
struct RoundTripTests {
    private let scratch = Scratch()

    private func message(_ sequence: UInt64, _ text: String, format: UInt8 = 1) -> RecoveredMessage {
        RecoveredMessage(sequence: sequence, format: format, payload: Array(text.utf8), at: Int64(sequence) * 10)
    }

    @Test("Everything about a connection comes back as it was noted")
    func roundTrip() throws {
        let outbox = try DeliveryOutbox(scratch)
        #expect(outbox.recover().isEmpty)
        outbox.opened(id: "b", context: [1, 2, 0, 255], identity: [7], at: 1_700_000_000_000)
        outbox.opened(id: "a", context: [], identity: [], at: 5)
        outbox.accepted(id: "b", sequence: 2, format: 1, payload: Array("two".utf8), at: 20)
        outbox.accepted(id: "b", sequence: 3, format: 0, payload: Array("three".utf8), at: 30)
        outbox.accepted(id: "b", sequence: 4, format: 1, payload: [], at: 40)
        outbox.answered(id: "b", sequence: 1)
        outbox.answered(id: "b", sequence: 2)
        outbox.identityChanged(id: "b", identity: [8, 9])
        outbox.closing(id: "a", sequence: 2, report: [3], at: 6)
        #expect(outbox.close())

        let faults = Faults()
        let found = try reopened(scratch, faults)
        #expect(
            found == [
                RecoveredConnection(
                    id: "b",
                    context: [1, 2, 0, 255],
                    identity: [8, 9],
                    openedAt: 1_700_000_000_000,
                    messagesIn: 3,
                    lastAnswered: 2,
                    messages: [message(3, "three", format: 0), message(4, "")],
                    close: nil
                ),
                RecoveredConnection(
                    id: "a",
                    context: [],
                    identity: [],
                    openedAt: 5,
                    messagesIn: 0,
                    lastAnswered: 0,
                    messages: [],
                    close: RecoveredClose(sequence: 2, report: [3], at: 6)
                ),
            ]
        )
        #expect(faults.sentences.isEmpty)
    }

    @Test("Records of several writes add up")
    func severalWrites() throws {
        let outbox = try DeliveryOutbox(scratch)
        outbox.opened(id: "a", context: [1], identity: [], at: 1)
        outbox.flush()
        outbox.accepted(id: "a", sequence: 2, format: 1, payload: Array("two".utf8), at: 20)
        outbox.accepted(id: "a", sequence: 3, format: 1, payload: Array("three".utf8), at: 30)
        outbox.flush()
        outbox.answered(id: "a", sequence: 2)
        outbox.identityChanged(id: "a", identity: [5])
        outbox.flush()
        outbox.closing(id: "a", sequence: 4, report: [6], at: 40)
        outbox.close()
        let found = try #require(try reopened(scratch).first)
        #expect(found.messages == [message(3, "three")])
        #expect(found.messagesIn == 2)
        #expect(found.lastAnswered == 2)
        #expect(found.identity == [5])
        #expect(found.close == RecoveredClose(sequence: 4, report: [6], at: 40))
    }

    @Test("A recovered connection goes on under its id, and what is not touched stays")
    func goesOn() throws {
        var outbox = try DeliveryOutbox(scratch)
        for id in ["a", "b"] {
            outbox.opened(id: id, context: [1], identity: [2], at: 1)
            outbox.accepted(id: id, sequence: 2, format: 1, payload: Array("two".utf8), at: 20)
        }
        outbox.close()

        outbox = try DeliveryOutbox(scratch)
        #expect(outbox.recover().map(\.id) == ["a", "b"])
        #expect(outbox.recover().isEmpty)
        // Whoever opens it again does no harm.
        outbox.opened(id: "a", context: [9], identity: [9], at: 9)
        outbox.answered(id: "a", sequence: 2)
        outbox.opened(id: "c", context: [], identity: [], at: 2)
        outbox.close()

        outbox = try DeliveryOutbox(scratch)
        let found = outbox.recover()
        #expect(found.map(\.id) == ["a", "b", "c"])
        #expect(found.map(\.messages.count) == [0, 1, 0])
        #expect(found.map(\.context) == [[1], [1], []])
        for id in ["a", "b", "c"] { outbox.finished(id: id) }
        // Finished, so the same id may stand for a new connection.
        outbox.opened(id: "a", context: [4], identity: [], at: 7)
        outbox.close()
        #expect(try reopened(scratch).map(\.context) == [[4]])
    }

    @Test("What cancels out between two writes leaves no rows, and the counts stay right")
    func cancelled() throws {
        let outbox = try DeliveryOutbox(scratch) { $0.flushMilliseconds = 600_000 }
        outbox.opened(id: "stays", context: [], identity: [], at: 1)
        outbox.flush()
        let before = Scratch.read(scratch.database + "-wal").count
        outbox.opened(id: "short", context: [1], identity: [], at: 1)
        outbox.accepted(id: "short", sequence: 2, format: 1, payload: [1], at: 1)
        outbox.answered(id: "short", sequence: 2)
        outbox.closing(id: "short", sequence: 3, report: [], at: 1)
        outbox.finished(id: "short")
        #expect(outbox.flush())
        #expect(Scratch.read(scratch.database + "-wal").count == before)

        for sequence in UInt64(2)...5 {
            outbox.accepted(id: "stays", sequence: sequence, format: 1, payload: [1, 2, 3], at: 1)
        }
        #expect(outbox.bytesBuffered == 4 * 131)
        for sequence in UInt64(2)...4 { outbox.answered(id: "stays", sequence: sequence) }
        #expect(outbox.bytesBuffered == 131)
        outbox.flush()
        #expect(outbox.bytesBuffered == 0)

        let found = try #require(try reopened(scratch.copyAsIfKilled()).first)
        #expect(found.messagesIn == 4)
        #expect(found.lastAnswered == 4)
        #expect(found.messages.map(\.sequence) == [5])
        outbox.close()
    }

    @Test("What a killed process had flushed is there, without its close")
    func killed() throws {
        let outbox = try DeliveryOutbox(scratch)
        for n in 0..<50 {
            outbox.opened(id: "c\(n)", context: [UInt8](repeating: 1, count: 500), identity: [], at: Int64(n))
            outbox.accepted(
                id: "c\(n)",
                sequence: 2,
                format: 1,
                payload: [UInt8](repeating: 2, count: n * 100),
                at: 1
            )
            outbox.flush()
        }
        let copy = scratch.copyAsIfKilled()
        outbox.close()
        let faults = Faults()
        let found = try reopened(copy, faults)
        #expect(found.map(\.id) == (0..<50).map { "c\($0)" })
        #expect(found.map { $0.messages.first?.payload.count } == (0..<50).map { $0 * 100 })
        #expect(faults.sentences.isEmpty)
        #expect(try reopened(scratch) == found)
    }

    @Test("Records reach the disk without a flush, also from an outbox that was let go")
    func byItself() throws {
        do {
            let outbox = try DeliveryOutbox(scratch)
            outbox.opened(id: "a", context: [], identity: [], at: 1)
        }
        while true {
            // In use until the write of the records has let the outbox go.
            do {
                #expect(try reopened(scratch).map(\.id) == ["a"])
                return
            } catch OutboxError.inUse {
                continue
            }
        }
    }

    @Test("After the close, records do nothing and a second close is fine")
    func closed() throws {
        let outbox = try DeliveryOutbox(scratch)
        #expect(outbox.close())
        outbox.opened(id: "a", context: [], identity: [], at: 1)
        outbox.accepted(id: "a", sequence: 2, format: 1, payload: [1], at: 1)
        #expect(outbox.flush())
        #expect(outbox.close())
        #expect(outbox.bytesBuffered == 0)
        #expect(try reopened(scratch).isEmpty)
    }

    @Test("Eight threads record at once and nothing is lost")
    func concurrency() async throws {
        let outbox = try DeliveryOutbox(scratch) { $0.flushMilliseconds = 1 }
        await withTaskGroup(of: Void.self) { group in
            for thread in 0..<8 {
                group.addTask {
                    for n in 0..<20 {
                        let id = "\(thread)-\(n)"
                        outbox.opened(id: id, context: [UInt8(thread)], identity: [], at: 1)
                        for sequence in UInt64(2)...51 {
                            outbox.accepted(id: id, sequence: sequence, format: 1, payload: [UInt8(n)], at: 1)
                            if sequence < 50 { outbox.answered(id: id, sequence: sequence) }
                        }
                        if n % 2 == 0 { outbox.finished(id: id) }
                        if n == 10 { outbox.flush() }
                    }
                }
            }
        }
        #expect(outbox.close())
        let found = try reopened(scratch)
        #expect(Set(found.map(\.id)).count == 80)
        #expect(found.allSatisfy { $0.messages.map(\.sequence) == [50, 51] })
        #expect(found.allSatisfy { $0.messagesIn == 50 && $0.lastAnswered == 49 })
    }
}
