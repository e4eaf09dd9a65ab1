import NIOCore
import SidecarCore
import Testing

@Suite("Counts of users")
struct LocalRateStoreTests {
    @Test("A user has as many connections as allowed, and gives them back")
    func connections() throws {
        let store = LocalRateStore(messages: nil)
        let first = try #require(store.tryOpen("ann", limit: 2, now: 0))
        let second = try #require(store.tryOpen("ann", limit: 2, now: 0))
        #expect(first === second && first.connections == 2)
        #expect(store.tryOpen("ann", limit: 2, now: 0) == nil)
        #expect(store.tryOpen("ann", limit: 3, now: 0) != nil)
        #expect(store.tryOpen("bob", limit: 2, now: 0) != nil)
        store.close(first, of: "ann")
        store.close(second, of: "ann")
        #expect(first.connections == 1)
    }

    @Test("All connections of a user share the rate of its messages")
    func messages() throws {
        let store = LocalRateStore(messages: Rate(1, per: .seconds(1), burst: 2))
        let first = try #require(store.tryOpen("ann", limit: .max, now: 0))
        let second = try #require(store.tryOpen("ann", limit: .max, now: 0))
        let other = try #require(store.tryOpen("bob", limit: .max, now: 0))
        #expect(first.take(now: 0) == .allowed && second.take(now: 0) == .allowed)
        #expect(first.take(now: 0) != .allowed && second.take(now: 0) != .allowed)
        #expect(other.take(now: 0) == .allowed)
    }
}
