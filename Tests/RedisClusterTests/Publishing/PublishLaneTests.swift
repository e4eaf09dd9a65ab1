import NIOCore
import SidecarCore
import Testing

@testable import RedisCluster

@Suite("The publications of one hash tag")
struct PublishLaneTests {
    private func publication(_ name: String = "x", deadline: Int64 = 1_000) throws -> PendingPublication {
        let channel = try #require(ChannelName("c"))
        return PendingPublication(
            ChannelEnvelope(Publication(channel: channel, format: .text, payload: ByteBuffer(string: name))),
            id: MessageID(1),
            idempotencyKey: nil,
            origin: "n",
            deadline: .uptimeNanoseconds(UInt64(deadline)),
            completion: nil
        )
    }

    private func lane(_ count: Int) throws -> (PublishLane, [PendingPublication]) {
        var lane = PublishLane()
        let publications = try (0..<count).map { try publication("\($0)") }
        for publication in publications { lane.append(publication) }
        return (lane, publications)
    }

    private func takeAll(_ lane: inout PublishLane) -> [UInt64?] {
        var numbers: [UInt64?] = []
        while let publication = lane.next() { numbers.append(publication.number) }
        return numbers
    }

    @Test("They are sent in their order, each with the next number")
    func order() throws {
        var (lane, publications) = try lane(3)
        #expect(takeAll(&lane) == [1, 2, 3])
        for publication in publications { lane.ended(publication) }
        #expect(lane.isEmpty)
    }

    @Test("No more are under way than the script remembers", arguments: [255, 256, 257])
    func window(count: Int) throws {
        var (lane, publications) = try lane(count)
        #expect(takeAll(&lane).count == min(count, 256))
        lane.ended(publications[1])
        #expect(takeAll(&lane).isEmpty)
        lane.ended(publications[0])
        #expect(takeAll(&lane).count == (count > 256 ? 1 : 0))
    }

    @Test("After a failure nothing is sent until all have their answers; then the failed ones come first, in order")
    func retry() throws {
        var (lane, publications) = try lane(4)
        #expect(takeAll(&lane) == [1, 2, 3, 4])
        let later = try publication("later")
        lane.append(later)
        lane.failed(publications[2])
        lane.failed(publications[1])
        #expect(lane.next() == nil && lane.isSettling)
        lane.ended(publications[0])
        #expect(lane.next() == nil)
        lane.failed(publications[3])
        #expect(!lane.isSettling)
        #expect(takeAll(&lane) == [2, 3, 4, 5])
        #expect(later.number == 5)
    }

    @Test("Numbers are never further apart than the script remembers, also after failures")
    func windowOfRetries() throws {
        var (lane, publications) = try lane(300)
        #expect(takeAll(&lane).count == 256)
        for publication in publications[0..<256] { lane.failed(publication) }
        #expect(takeAll(&lane) == (1...256).map { $0 })
        for publication in publications[0..<255] { lane.ended(publication) }
        #expect(takeAll(&lane).count == 44)
    }

    @Test("What has waited too long is taken out, but not what is under way")
    func expiry() throws {
        var lane = PublishLane()
        let (sent, late, early) = (try publication(deadline: 1), try publication(deadline: 5), try publication())
        lane.append(sent)
        _ = lane.next()
        lane.append(late)
        lane.append(early)
        #expect(lane.takeExpired(.uptimeNanoseconds(4)).isEmpty)
        #expect(lane.takeExpired(.uptimeNanoseconds(5)).map(ObjectIdentifier.init) == [ObjectIdentifier(late)])
        #expect(lane.waiting.count == 1)
        #expect(lane.takeAll().count == 1 && !lane.isEmpty)
        lane.ended(sent)
        #expect(lane.isEmpty)
    }
}
