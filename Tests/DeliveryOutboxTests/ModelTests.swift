import TestSupport
import Testing

@testable import DeliveryOutbox

@Suite("Against a plain dictionary")
struct ModelTests {
    /// The same, done in the simplest way.
    private struct Model {
        var connections: [String: RecoveredConnection] = [:]
        var order: [String] = []
        var next: [String: UInt64] = [:]

        var expected: [RecoveredConnection] { order.compactMap { connections[$0] } }
    }

    @Test("Random records, writes, failures and restarts leave what the dictionary has", arguments: 1...12)
    func random(seed: Int) throws {
        let scratch = Scratch()
        var random = SeededRandom(seed: UInt64(seed))
        var model = Model()
        var opened = 0
        var outbox = try DeliveryOutbox(scratch) { $0.flushMilliseconds = 1 }
        for _ in 0..<1_500 {
            let id = model.order.randomElement(using: &random)
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<8:
                opened += 1
                let context = bytes(&random)
                model.order.append("c\(opened)")
                model.next["c\(opened)"] = 2
                model.connections["c\(opened)"] = RecoveredConnection(
                    id: "c\(opened)",
                    context: context,
                    identity: [1],
                    openedAt: Int64(opened),
                    messagesIn: 0,
                    lastAnswered: 0,
                    messages: [],
                    close: nil
                )
                outbox.opened(id: "c\(opened)", context: context, identity: [1], at: Int64(opened))
            case 8..<50:
                guard let id, let sequence = model.next[id] else { continue }
                let message = RecoveredMessage(
                    sequence: sequence,
                    format: UInt8.random(in: 0...3, using: &random),
                    payload: bytes(&random),
                    at: Int64(sequence)
                )
                model.next[id] = sequence + 1
                model.connections[id]?.messages.append(message)
                model.connections[id]?.messagesIn += 1
                outbox.accepted(
                    id: id,
                    sequence: sequence,
                    format: message.format,
                    payload: message.payload,
                    at: message.at
                )
            case 50..<85:
                // Mostly in order, sometimes not.
                guard let id, let waiting = model.connections[id]?.messages, !waiting.isEmpty else { continue }
                let index = Bool.random(using: &random) ? 0 : Int.random(in: 0..<waiting.count, using: &random)
                let sequence = waiting[index].sequence
                model.connections[id]?.messages.remove(at: index)
                let before = model.connections[id]?.lastAnswered ?? 0
                model.connections[id]?.lastAnswered = max(before, sequence)
                outbox.answered(id: id, sequence: sequence)
            case 85..<88:
                guard let id else { continue }
                let identity = bytes(&random)
                model.connections[id]?.identity = identity
                outbox.identityChanged(id: id, identity: identity)
            case 88..<90:
                guard let id, let sequence = model.next[id] else { continue }
                let close = RecoveredClose(sequence: sequence, report: bytes(&random), at: 9)
                model.connections[id]?.close = close
                outbox.closing(id: id, sequence: sequence, report: close.report, at: 9)
            case 90..<94:
                guard let id else { continue }
                model.order.removeAll { $0 == id }
                model.connections[id] = nil
                outbox.finished(id: id)
                // Late records about it do nothing.
                outbox.accepted(id: id, sequence: 99, format: 1, payload: [1], at: 1)
                outbox.answered(id: id, sequence: 99)
            case 94..<98:
                outbox.flush()
            case 98:
                outbox.allowWriting(false)
                outbox.flush()
                outbox.allowWriting(true)
            default:
                outbox.flush()
                expect(try reopened(scratch.copyAsIfKilled()), model)
                #expect(outbox.close())
                outbox = try DeliveryOutbox(scratch) { $0.flushMilliseconds = 1 }
                expect(outbox.recover(), model)
            }
        }
        #expect(outbox.close())
        expect(try reopened(scratch), model)
    }

    /// Compares without printing all payloads.
    private func expect(
        _ found: [RecoveredConnection],
        _ model: Model,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let expected = model.expected
        #expect(found.map(\.id) == expected.map(\.id), sourceLocation: sourceLocation)
        for (one, other) in zip(found, expected) where one != other {
            func summary(_ connection: RecoveredConnection) -> String {
                let sequences = connection.messages.map(\.sequence)
                return "\(connection.id): \(connection.messagesIn) in, \(connection.lastAnswered) answered, "
                    + "\(sequences), close \(connection.close?.sequence ?? 0)"
            }
            #expect(summary(one) == summary(other), sourceLocation: sourceLocation)
            let isSame = one == other
            #expect(isSame, "bytes of \(one.id)", sourceLocation: sourceLocation)
        }
    }

    private func bytes(_ random: inout SeededRandom) -> [UInt8] {
        let length = Int.random(in: 0..<10, using: &random) == 0 ? 6_000 : 20
        return (0..<Int.random(in: 0...length, using: &random)).map { _ in
            UInt8.random(in: .min ... .max, using: &random)
        }
    }
}
