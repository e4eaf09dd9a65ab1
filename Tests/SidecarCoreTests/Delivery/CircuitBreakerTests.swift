import NIOCore
import SidecarCore
import TestSupport
import Testing

@Suite("Circuit breaker")
struct CircuitBreakerTests {
    private static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    private func at(_ milliseconds: Int64) -> NIODeadline { Self.start + .milliseconds(milliseconds) }

    /// A breaker that has just opened, at 0.
    private func opened(capacity: Int = 4) -> CircuitBreaker {
        var breaker = CircuitBreaker(capacity: capacity)
        for _ in 1..<CircuitBreaker.failuresInARow { _ = breaker.ended(.failure, at: at(0)) }
        #expect(breaker.ended(.failure, at: at(0)) == .opened)
        return breaker
    }

    @Test("It opens with the fifth failure in a row")
    func opens() {
        var few = CircuitBreaker(capacity: 4)
        for _ in 0..<4 { #expect(few.ended(.failure, at: at(0)) == nil) }
        #expect(few.ended(.success, at: at(0)) == nil)
        for _ in 0..<4 { #expect(few.ended(.failure, at: at(0)) == nil) }
        #expect(few.state == .closed && few.admits(inFlight: 1000, at: at(0)))
        #expect(few.ended(.failure, at: at(1)) == .opened)
        #expect(few.state == .open && !few.admits(inFlight: 0, at: at(1)))
    }

    @Test("It opens when at least ten calls fail and they are half of all")
    func half() {
        var breaker = CircuitBreaker(capacity: 4)
        for _ in 0..<9 {
            #expect(breaker.ended(.success, at: at(0)) == nil)
            #expect(breaker.ended(.failure, at: at(0)) == nil)
        }
        #expect(breaker.ended(.success, at: at(0)) == nil)
        #expect(breaker.ended(.success, at: at(0)) == nil)
        #expect(breaker.ended(.failure, at: at(0)) == nil)
        #expect(breaker.ended(.failure, at: at(0)) == .opened)
    }

    @Test("What is neutral counts for nothing")
    func neutral() {
        var breaker = CircuitBreaker(capacity: 4)
        for _ in 0..<100 { #expect(breaker.ended(.neutral, at: at(0)) == nil) }
        for _ in 0..<4 { _ = breaker.ended(.failure, at: at(0)) }
        #expect(breaker.ended(.failure, at: at(0)) == .opened)
    }

    @Test("Failures long ago don't count")
    func window() {
        var breaker = CircuitBreaker(capacity: 4)
        for second in stride(from: 0, through: 120_000, by: 11_000) {
            #expect(breaker.ended(.failure, at: at(Int64(second))) == nil)
        }
        #expect(breaker.state == .closed)
    }

    @Test("After the pause one probe goes through at a time")
    func probe() {
        var breaker = opened()
        #expect(breaker.pauseEnds == at(500))
        #expect(!breaker.admits(inFlight: 0, at: at(499)))
        #expect(breaker.admits(inFlight: 3, at: at(500)))
        breaker.began(at: at(500))
        #expect(breaker.state == .halfOpen && !breaker.admits(inFlight: 0, at: at(600)))
        #expect(breaker.ended(.neutral, at: at(600)) == nil)
        #expect(breaker.admits(inFlight: 0, at: at(600)))
    }

    @Test("A failed probe doubles the pause, up to five seconds")
    func pauses() {
        var breaker = opened()
        var now: Int64 = 500
        for pause in [1_000, 2_000, 4_000, 5_000, 5_000] as [Int64] {
            breaker.began(at: at(now))
            #expect(breaker.ended(.failure, at: at(now)) == nil)
            #expect(breaker.pauseEnds == at(now + pause))
            now += pause
        }
    }

    @Test("Recovery doubles with each round, and ends at the capacity")
    func recovery() {
        var breaker = opened(capacity: 8)
        breaker.began(at: at(500))
        #expect(breaker.ended(.success, at: at(501)) == nil)
        var round = 2
        while round < 8 {
            #expect(breaker.admits(inFlight: round - 1, at: at(502)) && !breaker.admits(inFlight: round, at: at(502)))
            for _ in 0..<(round - 1) { #expect(breaker.ended(.success, at: at(502)) == nil) }
            let last = breaker.ended(.success, at: at(502))
            round *= 2
            #expect(last == (round == 8 ? .closed : nil))
        }
        #expect(breaker.state == .closed)
    }

    @Test("Five failures in a row open it again while it recovers, and the next time begins with a short pause")
    func relapse() {
        var breaker = opened()
        breaker.began(at: at(500))
        _ = breaker.ended(.success, at: at(500))
        for _ in 0..<4 { #expect(breaker.ended(.failure, at: at(500)) == nil) }
        #expect(breaker.state == .halfOpen)
        #expect(breaker.ended(.failure, at: at(500)) == nil)
        #expect(breaker.state == .open && breaker.pauseEnds == at(1_500))
        breaker.began(at: at(1_500))
        for _ in 0..<4 { _ = breaker.ended(.success, at: at(1_500)) }
        #expect(breaker.state == .closed)
        for _ in 0..<5 { _ = breaker.ended(.failure, at: at(2_000)) }
        #expect(breaker.pauseEnds == at(2_500))
    }

    @Test("An app of which one call in three fails comes back")
    func flaky() {
        var breaker = opened(capacity: 64)
        breaker.began(at: at(500))
        var changes: [CircuitBreaker.Change?] = []
        for number in 0..<120 {
            changes.append(breaker.ended(number % 3 == 1 ? .failure : .success, at: at(501 + Int64(number))))
        }
        #expect(breaker.state == .closed && changes.compactMap { $0 } == [.closed])
    }

    @Test("A call that began before it opened changes nothing when it ends")
    func stragglers() {
        var breaker = opened()
        #expect(breaker.ended(.success, at: at(10)) == nil)
        #expect(breaker.ended(.failure, at: at(10)) == nil)
        #expect(breaker.pauseEnds == at(500))
    }
}

@Suite("Call dispatcher")
struct CallDispatcherTests {
    private static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    private func at(_ milliseconds: Int64) -> NIODeadline { Self.start + .milliseconds(milliseconds) }

    @Test("The address with the fewest calls in flight is next")
    func leastInFlight() {
        var dispatcher = CallDispatcher<Int>(addresses: 3, capacity: 10)
        let first = (0..<3).map { dispatcher.acquire(.events, at: at(0), orWaitWith: $0) }
        #expect(Set(first.map { "\($0)" }).count == 3)
        _ = dispatcher.ended(.events, address: 1, .success, at: at(0))
        #expect(dispatcher.acquire(.events, at: at(0), orWaitWith: 9) == .granted(address: 1))
    }

    @Test("An address that has refused is called again only if there is no other")
    func refused() {
        var dispatcher = CallDispatcher<Int>(addresses: 3, capacity: 10)
        // One is idle and would come first.
        for busy in [0, 2] {
            _ = dispatcher.noteHealth(address: 1, isDown: true)
            _ = dispatcher.noteHealth(address: 2 - busy, isDown: true)
            #expect(dispatcher.acquire(.events, at: at(0), orWaitWith: 9) == .granted(address: busy))
            _ = dispatcher.noteHealth(address: 1, isDown: false)
            _ = dispatcher.noteHealth(address: 2 - busy, isDown: false)
        }
        #expect(
            dispatcher.acquire(.handshakes, at: at(0), otherThan: [1], orWaitWith: 9) == .granted(address: 0)
        )
        #expect(
            dispatcher.acquire(.handshakes, at: at(0), otherThan: [1, 2], orWaitWith: 9) == .granted(address: 0)
        )
        #expect(
            dispatcher.acquire(.handshakes, at: at(0), otherThan: [0, 1, 2], orWaitWith: 9)
                == .granted(address: 1)
        )
    }

    @Test("Whoever waits for a permit does not get the address that has just refused it, unless there is no other")
    func refusedBeforeWaiting() {
        var dispatcher = CallDispatcher<Int>(addresses: 2, capacity: 1, refusedBy: { $0 < 2 ? [$0] : [0, 1] })
        for (ticket, address) in [(0, 1), (1, 0), (0, 1), (0, 1), (1, 0)] {
            let first = dispatcher.acquire(.events, at: at(0), orWaitWith: 9)
            guard case .granted(let held) = first else { return #expect(first == .granted(address: 0)) }
            #expect(dispatcher.acquire(.events, at: at(0), otherThan: [ticket], orWaitWith: ticket) == .queued)
            _ = dispatcher.ended(.events, address: held, .success, at: at(0))
            let next = dispatcher.next(at: at(0))
            #expect(next?.ticket == ticket && next?.address == address)
            _ = dispatcher.ended(.events, address: address, .success, at: at(0))
        }
        _ = dispatcher.acquire(.events, at: at(0), orWaitWith: 9)
        _ = dispatcher.acquire(.events, at: at(0), orWaitWith: 2)
        let busy = dispatcher.addresses.firstIndex { $0.inFlight == 1 } ?? 0
        _ = dispatcher.ended(.events, address: busy, .success, at: at(0))
        #expect(dispatcher.next(at: at(0))?.ticket == 2)
    }

    @Test("An address that fails or is down is left out; with none left events wait and handshakes are turned away")
    func unavailable() {
        var dispatcher = CallDispatcher<Int>(addresses: 2, capacity: 10)
        let news = dispatcher.noteHealth(address: 0, isDown: true)
        #expect(news)
        let again = dispatcher.noteHealth(address: 0, isDown: true)
        #expect(!again)
        let unknown = dispatcher.noteHealth(address: 7, isDown: true)
        #expect(!unknown)
        for _ in 0..<5 {
            #expect(dispatcher.acquire(.events, at: at(0), orWaitWith: 0) == .granted(address: 1))
            _ = dispatcher.ended(.events, address: 1, .failure, at: at(0))
        }
        #expect(dispatcher.isEveryAddressFailing)
        #expect(dispatcher.acquire(.handshakes, at: at(0), orWaitWith: 1) == .unavailable)
        #expect(dispatcher.acquire(.events, at: at(0), orWaitWith: 2) == .queued)
        #expect(dispatcher.wakeAt(after: at(0)) == at(500))
        let early = dispatcher.next(at: at(499))
        #expect(early == nil)
        let probe = dispatcher.next(at: at(500))
        #expect(probe?.ticket == 2 && probe?.address == 1)
        // While a probe is in flight a handshake waits.
        #expect(dispatcher.acquire(.handshakes, at: at(501), orWaitWith: 3) == .queued)
        _ = dispatcher.noteHealth(address: 0, isDown: false)
        let next = dispatcher.next(at: at(502))
        #expect(next?.address == 0)
    }

    @Test(
        "Whatever fails, permits and calls in flight add up, and nobody waits while they could go",
        arguments: UInt64(1)...30
    )
    func random(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let capacity = Int.random(in: 1...6, using: &random)
        let count = Int.random(in: 1...3, using: &random)
        var dispatcher = CallDispatcher<PermitLane>(addresses: count, capacity: capacity, maxWaitingHandshakes: 20)
        var inFlight: [(lane: PermitLane, address: Int)] = []
        var now: Int64 = 0
        func pump() {
            while let (lane, address) = dispatcher.next(at: at(now)) { inFlight.append((lane, address)) }
        }
        for _ in 0..<2_000 {
            now += Int64.random(in: 0...40, using: &random)
            if Bool.random(using: &random) {
                let lane: PermitLane = Bool.random(using: &random) ? .events : .handshakes
                if case .granted(let address) = dispatcher.acquire(lane, at: at(now), orWaitWith: lane) {
                    inFlight.append((lane, address))
                }
            } else if !inFlight.isEmpty {
                let one = inFlight.remove(at: Int.random(in: 0..<inFlight.count, using: &random))
                let outcome: CircuitBreaker.Outcome = Int.random(in: 0..<3, using: &random) == 0 ? .success : .failure
                _ = dispatcher.ended(one.lane, address: one.address, outcome, at: at(now))
            }
            pump()
            #expect(dispatcher.inUse == inFlight.count && inFlight.count <= capacity)
            for index in dispatcher.addresses.indices {
                #expect(dispatcher.addresses[index].inFlight == inFlight.filter { $0.address == index }.count)
            }
            if dispatcher.queueDepth > 0, inFlight.isEmpty { #expect(dispatcher.wakeAt(after: at(now)) != nil) }
        }
        // The app is well again: everybody gets through.
        var rounds = 0
        while dispatcher.queueDepth > 0 || !inFlight.isEmpty {
            now += 100
            rounds += 1
            for one in inFlight { _ = dispatcher.ended(one.lane, address: one.address, .success, at: at(now)) }
            inFlight = []
            pump()
            if rounds > 20_000 { break }
        }
        #expect(rounds <= 20_000)
    }
}
