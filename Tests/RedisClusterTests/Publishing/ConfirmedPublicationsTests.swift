import NIOCore
import SidecarCore
import Testing

@testable import RedisCluster

@Suite("Confirmed publications")
struct ConfirmedPublicationsTests {
    private let start = NIODeadline.uptimeNanoseconds(1 << 50)

    private func entry(_ channel: String, _ number: UInt64, after: TimeAmount = .zero) throws
        -> ConfirmedPublications.Entry
    {
        let name = try #require(ChannelName(channel))
        return .init(channel: name, number: number, time: Int64(number), at: start + after)
    }

    @Test("The last publication of each channel is kept, whatever the order of the answers")
    func lasts() throws {
        var confirmed = ConfirmedPublications()
        #expect(confirmed.last == nil)
        for (channel, number) in [("a", 1), ("b", 3), ("a", 2), ("b", 2)] as [(String, UInt64)] {
            confirmed.add(try entry(channel, number))
        }
        #expect(confirmed.last == 3)
        #expect(confirmed.take(above: 0, upTo: 1).isEmpty)
        #expect(confirmed.take(above: 0, upTo: 9) == [try entry("a", 2), try entry("b", 3)])
        #expect(confirmed.take(above: 0, upTo: 9).isEmpty)
    }

    @Test("Only what is above the first number and not above the second is taken")
    func bounds() throws {
        var confirmed = ConfirmedPublications()
        for number in 1...5 as ClosedRange<UInt64> { confirmed.add(try entry("c\(number)", number)) }
        #expect(confirmed.take(above: 2, upTo: 4).map(\.number) == [3, 4])
        #expect(confirmed.take(above: 0, upTo: 5).map(\.number) == [1, 2, 5])
    }

    @Test("Old ones are dropped, and without any there is no last one")
    func expiry() throws {
        var confirmed = ConfirmedPublications()
        confirmed.add(try entry("a", 1))
        confirmed.add(try entry("b", 2, after: .seconds(1)))
        confirmed.expire(start + ConfirmedPublications.kept)
        #expect(confirmed.last == 2)
        confirmed.expire(start + ConfirmedPublications.kept + .seconds(1))
        #expect(confirmed.last == nil && confirmed.take(above: 0, upTo: 9).isEmpty)
    }

    @Test("There is a bound, and the channels of the last publications stay")
    func bound() throws {
        var confirmed = ConfirmedPublications()
        let most = UInt64(ConfirmedPublications.channels)
        for number in 1...(5 * most) { confirmed.add(try entry("c\(number)", number)) }
        // A busy channel takes no room from the others.
        for number in 1...(5 * most) { confirmed.add(try entry("busy", 5 * most + number)) }
        let taken = confirmed.take(above: 0, upTo: .max)
        #expect(taken.count >= Int(most) && taken.count <= 2 * Int(most) + 1)
        #expect(taken.last?.number == 10 * most && taken.first.map { $0.number > 3 * most } == true)
    }
}
