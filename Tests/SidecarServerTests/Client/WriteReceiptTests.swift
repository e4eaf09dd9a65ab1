import NIOCore
import NIOEmbedded
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("Receipts for what the kernel has taken")
struct WriteReceiptTests {
    /// What became of the message that `script` sends to one client and then asks about.
    private func outcome(
        _ script: (_ client: OutputFixture, _ ask: () -> Void) throws -> Void
    ) async throws -> [Int] {
        let message = PreparedMessage(.text, ByteBuffer(string: "x"))
        let tally = PublicationTally(of: message, waitsForKernel: true)
        tally.sent(toLoops: 1)
        try play(script, tally)
        let (_, counts) = await tally.result()
        return [counts.queued, counts.dropped]
    }

    /// All that touches the embedded loop, on one thread.
    private func play(
        _ script: (_ client: OutputFixture, _ ask: () -> Void) throws -> Void,
        _ tally: PublicationTally
    ) throws {
        let client = try OutputFixture(.dropOldest)
        try script(client) {
            let receipt = WriteReceipt(for: tally)
            client.output.whenWritten(receipt)
            receipt.report(.init(matched: 1, queued: 1, dropped: 0), on: client.channel.eventLoop)
        }
        client.channel.embeddedEventLoop.run()
    }

    @Test("A client that reads has it at once")
    func atOnce() async throws {
        let outcome = try await outcome { client, ask in
            _ = client.send("x")
            ask()
        }
        #expect(outcome == [1, 0])
    }

    @Test("What waits is written when the client reads on")
    func later() async throws {
        let outcome = try await outcome { client, ask in
            client.stopReading()
            _ = client.send("x")
            ask()
            client.readOn()
        }
        #expect(outcome == [1, 0])
    }

    @Test("What lies in the channel is written when the client reads on")
    func inTheChannel() async throws {
        let outcome = try await outcome { client, ask in
            _ = client.send("x")
            client.stopReading()
            ask()
            client.readOn()
        }
        #expect(outcome == [1, 0])
    }

    @Test("What is dropped while it waits is not written")
    func dropped() async throws {
        let outcome = try await outcome { client, ask in
            client.stopReading()
            _ = client.send("x")
            ask()
            client.output.shed(beyond: 0)
        }
        #expect(outcome == [0, 1])
    }

    @Test("What waits when the client goes is not written")
    func gone() async throws {
        let outcome = try await outcome { client, ask in
            client.stopReading()
            _ = client.send("x")
            ask()
            client.output.connectionLost()
        }
        #expect(outcome == [0, 1])
    }

    @Test("After that nothing is")
    func afterTheEnd() async throws {
        let outcome = try await outcome { client, ask in
            client.output.connectionLost()
            ask()
        }
        #expect(outcome == [0, 1])
    }
}
