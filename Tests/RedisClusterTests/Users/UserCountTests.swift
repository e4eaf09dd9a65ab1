import Synchronization
import Testing

@testable import RedisCluster

@Suite("The connections of one user")
struct UserCountTests {
    /// What those who waited were told, in order.
    private func grants(_ outcomes: [UserCount.Outcome]) -> [Bool] { outcomes.map(\.isGranted) }

    private func next(_ count: inout UserCount) throws -> UserCount.Request {
        let request = count.next()
        return try #require(request)
    }

    private func waiter(_ limit: Int) -> UserCount.Waiter { UserCount.Waiter(limit: limit, completion: { _ in }) }

    @Test("Those who wait are asked for together, one command at a time")
    func batch() throws {
        var count = UserCount()
        for _ in 0..<3 { count.wait(waiter(5)) }
        count.wait(waiter(9))
        let first = try next(&count)
        #expect(first == UserCount.Request(own: 0, wanted: 3, limit: 5))
        #expect(count.next() == nil)
        #expect(grants(count.answered(first, 2)) == [true, true, false])
        #expect(count.count == 2 && count.announced == 2)
        #expect(count.next() == UserCount.Request(own: 2, wanted: 3, limit: 9))
    }

    @Test("What closes while a command is under way is told after it")
    func closes() throws {
        var count = UserCount()
        count.add()
        count.wait(waiter(5))
        let request = try next(&count)
        #expect(request == UserCount.Request(own: 1, wanted: 2, limit: 5))
        count.close()
        #expect(grants(count.answered(request, 2)) == [true])
        #expect(count.count == 1 && count.announced == 2 && count.isDue)
        let correction = try next(&count)
        #expect(correction == UserCount.Request(own: 1, wanted: 1, limit: 0))
        #expect(count.answered(correction, 1).isEmpty && !count.isDue)
        count.close()
        count.close()
        #expect(count.count == 0)
        let last = try next(&count)
        #expect(count.answered(last, 0).isEmpty && count.isGone)
    }

    @Test("After a failure the number is not known, and is told again")
    func failure() {
        var count = UserCount()
        count.wait(waiter(2))
        _ = count.next()
        count.failed()
        #expect(grants(count.decide { _ in 0 }) == [false])
        #expect(count.count == 0 && count.announced == nil && count.isDue && !count.isGone)
        #expect(count.next() == UserCount.Request(own: 0, wanted: 0, limit: 0))
    }

    @Test("Those who were answered without the engine are not answered again")
    func decided() throws {
        var count = UserCount()
        for _ in 0..<3 { count.wait(waiter(4)) }
        let request = try next(&count)
        #expect(grants(count.decide { $0 / 2 }) == [true, true, false])
        count.wait(waiter(4))
        #expect(count.answered(request, 3).isEmpty)
        #expect(count.count == 2 && count.isDue)
        #expect(count.next() == UserCount.Request(own: 2, wanted: 3, limit: 4))
    }

    @Test("What the engine may have lost is told again, also what was under way")
    func forget() throws {
        var count = UserCount()
        count.add()
        let request = try next(&count)
        count.forget()
        _ = count.answered(request, 1)
        #expect(count.isDue)
        let again = try next(&count)
        _ = count.answered(again, 1)
        #expect(!count.isDue)
    }
}
