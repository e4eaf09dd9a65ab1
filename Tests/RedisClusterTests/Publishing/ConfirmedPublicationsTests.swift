import SidecarCore
import Testing

@testable import RedisCluster

@Suite("Confirmed publications")
struct ConfirmedPublicationsTests {
    private let start: Int64 = 1_700_000_000_000

    private func entry(_ channel: String, _ number: UInt64, after: Int64 = 0) throws -> ConfirmedPublications.Entry {
        .init(channel: try #require(ChannelName(channel)), number: number, time: start + after)
    }

    @Test("The last publication of each channel is kept, whatever the order of the answers")
    func lasts() throws {
        var confirmed = ConfirmedPublications()
        #expect(confirmed.takeAll(at: start).isEmpty)
        for (channel, number) in [("a", 1), ("b", 3), ("a", 2), ("b", 2)] as [(String, UInt64)] {
            confirmed.add(try entry(channel, number))
        }
        #expect(confirmed.takeAll(at: start) == [try entry("a", 2), try entry("b", 3)])
        #expect(confirmed.takeAll(at: start).isEmpty)
    }

    @Test("Old ones are dropped")
    func expiry() throws {
        var confirmed = ConfirmedPublications()
        confirmed.add(try entry("a", 1))
        confirmed.add(try entry("b", 2, after: 1))
        #expect(confirmed.takeAll(at: start + ConfirmedPublications.kept).map(\.number) == [2])
    }

    @Test("There is a bound, and the channels of the last publications stay")
    func bound() throws {
        var confirmed = ConfirmedPublications()
        let most = UInt64(ConfirmedPublications.channels)
        for number in 1...(5 * most) { confirmed.add(try entry("c\(number)", number)) }
        // A busy channel takes no room from the others.
        for number in 1...(5 * most) { confirmed.add(try entry("busy", 5 * most + number)) }
        let taken = confirmed.takeAll(at: start)
        #expect(taken.count >= Int(most) && taken.count <= 2 * Int(most) + 1)
        #expect(taken.last?.number == 10 * most && taken.first.map { $0.number > 3 * most } == true)
    }
}
