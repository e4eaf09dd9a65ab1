import NIOCore
import SidecarCore
import TestSupport
import Testing

@Suite("Heartbeat")
struct HeartbeatTests {
    private static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    private func at(_ seconds: Double) -> NIODeadline { Self.start + .nanoseconds(Int64(seconds * 1e9)) }

    /// Jitter 0.5 makes factors of exactly 1.
    private func beating() -> Heartbeat { Heartbeat(openedAt: Self.start, jitter: 0.5) }
    private let pings = HeartbeatPolicy(pingInterval: .seconds(25), pongTimeout: .seconds(20))

    private func step(
        _ heartbeat: inout Heartbeat,
        _ seconds: Double,
        isReading: Bool = true,
        hasProgressed: Bool = false,
        policy: HeartbeatPolicy? = nil
    ) -> Heartbeat.Step {
        heartbeat.deadlineReached(
            at: at(seconds),
            isReading: isReading,
            hasProgressed: hasProgressed,
            policy: policy ?? pings
        )
    }

    @Test("Silence for the interval asks for a ping, not a moment less")
    func silence() {
        var heartbeat = beating()
        #expect(heartbeat.nextDeadline(pings) == at(25))
        #expect(step(&heartbeat, 24.999) == .wait)
        #expect(step(&heartbeat, 25) == .sendPing)
    }

    @Test("Bytes both ways put the ping off; bytes one way don't")
    func oneWay() {
        var both = beating()
        both.received(at: at(10))
        both.sent(at: at(12))
        #expect(both.nextDeadline(pings) == at(35))
        var outOnly = beating()
        for second in 1...25 { outOnly.sent(at: at(Double(second))) }
        #expect(step(&outOnly, 25) == .sendPing)
        var inOnly = beating()
        for second in 1...25 { inOnly.received(at: at(Double(second))) }
        #expect(step(&inOnly, 25) == .sendPing)
    }

    @Test("No answer within the timeout is death; pings go on until then")
    func death() {
        var heartbeat = beating()
        let quick = HeartbeatPolicy(pingInterval: .seconds(8), pongTimeout: .seconds(20))
        #expect(step(&heartbeat, 8, policy: quick) == .sendPing)
        #expect(heartbeat.nextDeadline(quick) == at(16))
        #expect(step(&heartbeat, 16, policy: quick) == .sendPing)
        #expect(step(&heartbeat, 24, policy: quick) == .sendPing)
        #expect(heartbeat.nextDeadline(quick) == at(28))
        #expect(step(&heartbeat, 27.9, policy: quick) == .wait)
        #expect(step(&heartbeat, 28, policy: quick) == .wait)
        #expect(heartbeat.nextDeadline(quick) == at(28.2))
        #expect(step(&heartbeat, 28.2, policy: quick) == .closeUnresponsive)
    }

    @Test("Any byte from the client is life")
    func life() {
        var heartbeat = beating()
        #expect(step(&heartbeat, 25) == .sendPing)
        heartbeat.received(at: at(44.9))
        #expect(step(&heartbeat, 45) == .wait)
        #expect(heartbeat.nextDeadline(pings) == at(50))
        #expect(step(&heartbeat, 50) == .sendPing)
    }

    @Test("A client that takes bytes is slow, not dead")
    func slowReader() {
        var heartbeat = beating()
        #expect(step(&heartbeat, 25) == .sendPing)
        #expect(step(&heartbeat, 45, hasProgressed: true) == .wait)
        #expect(step(&heartbeat, 50) == .sendPing)
        #expect(step(&heartbeat, 70) == .wait)
        #expect(step(&heartbeat, 70.2) == .closeUnresponsive)
    }

    @Test("While it is us who do not read, nobody is judged")
    func notReading() {
        var heartbeat = beating()
        let policy = HeartbeatPolicy(
            pingInterval: .seconds(25),
            pongTimeout: .seconds(20),
            clientIdleTimeout: .seconds(40)
        )
        #expect(step(&heartbeat, 25, policy: policy) == .sendPing)
        #expect(step(&heartbeat, 40, isReading: false, policy: policy) == .wait)
        #expect(step(&heartbeat, 45, isReading: false, policy: policy) == .wait)
        #expect(step(&heartbeat, 46, policy: policy) == .wait)
        #expect(step(&heartbeat, 46.2, policy: policy) == .closeIdle)
    }

    @Test("After we stood still the answers get the time to be read", arguments: [1.001, 30, 3_600] as [Double])
    func stoodStill(late: Double) {
        var heartbeat = beating()
        #expect(step(&heartbeat, 25) == .sendPing)
        #expect(step(&heartbeat, 45 + late) != .closeUnresponsive)
        let again = heartbeat.nextDeadline(pings)
        #expect(again > at(45 + late))
        heartbeat.received(at: at(45 + late + 0.01))
        #expect(step(&heartbeat, 45 + late + 20) != .closeUnresponsive)
    }

    @Test("A deadline that is a little late still counts")
    func littleLate() {
        var heartbeat = beating()
        #expect(step(&heartbeat, 25) == .sendPing)
        #expect(step(&heartbeat, 46) == .wait)
        #expect(step(&heartbeat, 47) == .closeUnresponsive)
    }

    @Test("An answer that lies unread at the deadline is read within the grace")
    func grace() {
        var heartbeat = beating()
        #expect(step(&heartbeat, 25) == .sendPing)
        #expect(step(&heartbeat, 45) == .wait)
        heartbeat.received(at: at(45.1))
        #expect(step(&heartbeat, 45.2) == .wait)
        #expect(step(&heartbeat, 50) == .sendPing)
        #expect(step(&heartbeat, 70) == .wait)
        // Standing still within the grace is standing still too.
        #expect(step(&heartbeat, 75.2) == .sendPing)
    }

    @Test("The client's silence in messages is another matter than in bytes")
    func idle() {
        let policy = HeartbeatPolicy(pingInterval: nil, pongTimeout: .seconds(20), clientIdleTimeout: .seconds(60))
        var heartbeat = beating()
        heartbeat.received(at: at(59))
        #expect(heartbeat.nextDeadline(policy) == at(60))
        #expect(step(&heartbeat, 59.9, policy: policy) == .wait)
        heartbeat.receivedMessage(at: at(59.95))
        #expect(step(&heartbeat, 60, policy: policy) == .wait)
        #expect(step(&heartbeat, 119.95, policy: policy) == .wait)
        #expect(step(&heartbeat, 120.15, policy: policy) == .closeIdle)
    }

    @Test("The age differs by a tenth up or down", arguments: [(0.0, 90.0), (0.5, 100), (1, 110), (7, 110), (-1, 90)])
    func age(jitter: Double, seconds: Double) {
        let policy = HeartbeatPolicy(pingInterval: nil, pongTimeout: .seconds(20), maxAge: .seconds(100))
        var heartbeat = Heartbeat(openedAt: Self.start, jitter: jitter)
        heartbeat.received(at: at(89))
        #expect(step(&heartbeat, seconds - 0.001, policy: policy) == .wait)
        #expect(step(&heartbeat, seconds + 0.001, policy: policy) == .closeAged)
    }

    @Test(
        "Connections that opened together drift apart with every ping",
        arguments: [(0.0, 22.5), (0.5, 25), (1, 27.5)]
    )
    func jitter(jitter: Double, interval: Double) {
        var heartbeat = Heartbeat(openedAt: Self.start, jitter: jitter)
        for round in 1...5 {
            let due = Double(round) * interval
            #expect(heartbeat.nextDeadline(pings) == at(due))
            #expect(step(&heartbeat, due) == .sendPing)
            heartbeat.received(at: at(due))
        }
    }

    @Test("A round trip is told once, and only for the last ping")
    func roundTrip() {
        var heartbeat = beating()
        #expect(heartbeat.receivedPong(0, at: at(1)) == nil)
        _ = step(&heartbeat, 25)
        #expect(heartbeat.pingNumber == 1)
        #expect(heartbeat.receivedPong(0, at: at(25.2)) == nil)
        #expect(heartbeat.receivedPong(1, at: at(25.3)) == .milliseconds(300))
        #expect(heartbeat.receivedPong(1, at: at(25.4)) == nil)
    }

    // MARK: Clients that send nothing

    private func silent(jitter: Double = 0.5) -> Heartbeat {
        Heartbeat(openedAt: Self.start, jitter: jitter, hasAnswers: false)
    }

    @Test("Who can send nothing gets a ping after the interval without bytes to it, not a moment less")
    func oneWaySilence() {
        var heartbeat = silent()
        #expect(heartbeat.nextDeadline(pings) == at(25))
        #expect(step(&heartbeat, 24.999) == .wait)
        #expect(step(&heartbeat, 25) == .sendPing)
        #expect(heartbeat.nextDeadline(pings) == at(50))
        heartbeat.sent(at: at(30))
        #expect(heartbeat.nextDeadline(pings) == at(55))
        #expect(step(&heartbeat, 54.999) == .wait)
        #expect(step(&heartbeat, 55) == .sendPing)
    }

    @Test("A ping that was not sent, as bytes wait for the client, comes an interval later")
    func oneWayUnsent() {
        var heartbeat = silent()
        heartbeat.sent(at: at(1))
        #expect(step(&heartbeat, 26) == .sendPing)
        heartbeat.sent(at: at(1))
        #expect(heartbeat.nextDeadline(pings) == at(51))
    }

    @Test("Nobody who can send nothing is closed for that")
    func oneWayIsNotJudged() {
        let policy = HeartbeatPolicy(
            pingInterval: .seconds(8),
            pongTimeout: .seconds(20),
            clientIdleTimeout: .seconds(10)
        )
        var heartbeat = silent()
        for round in 1...100 {
            let due = Double(round) * 8
            #expect(heartbeat.nextDeadline(policy) == at(due))
            #expect(step(&heartbeat, due, policy: policy) == .sendPing)
        }
        #expect(heartbeat.pingNumber == 0)
    }

    @Test(
        "Interval and age of who can send nothing differ by a tenth up or down",
        arguments: [(0.0, 22.5, 90.0), (0.5, 25, 100), (1, 27.5, 110)]
    )
    func oneWayJitter(jitter: Double, interval: Double, age: Double) {
        let policy = HeartbeatPolicy(pingInterval: .seconds(25), pongTimeout: .seconds(20), maxAge: .seconds(100))
        var heartbeat = silent(jitter: jitter)
        #expect(heartbeat.nextDeadline(policy) == at(interval))
        #expect(step(&heartbeat, interval - 0.001, policy: policy) == .wait)
        heartbeat.sent(at: at(age - 0.5))
        #expect(heartbeat.nextDeadline(policy) == at(age))
        #expect(step(&heartbeat, age - 0.001, policy: policy) == .wait)
        #expect(step(&heartbeat, age, policy: policy) == .closeAged)
    }

    @Test("Without any limit there is no deadline")
    func unlimited() {
        var heartbeat = beating()
        let policy = HeartbeatPolicy(pingInterval: nil, pongTimeout: .seconds(20))
        #expect(heartbeat.nextDeadline(policy) == .distantFuture)
        #expect(step(&heartbeat, 1e6, policy: policy) == .wait)
        #expect(policy.transportTimeout == nil)
        #expect(pings.transportTimeout == .seconds(45))
    }

    @Test("Whatever happens, the next deadline lies ahead and a silent client ends in time", arguments: UInt64(1)...30)
    func random(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var heartbeat = Heartbeat(openedAt: Self.start, jitter: .random(in: 0..<1, using: &random))
        var now = 0.0
        for _ in 0..<300 {
            now += Double.random(in: 0...3, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: heartbeat.received(at: at(now))
            case 1: heartbeat.sent(at: at(now))
            default: break
            }
            if heartbeat.nextDeadline(pings) <= at(now) {
                let step = heartbeat.deadlineReached(
                    at: at(now),
                    isReading: true,
                    hasProgressed: false,
                    policy: pings
                )
                // That was its end; another begins.
                if step == .closeUnresponsive { heartbeat = Heartbeat(openedAt: at(now), jitter: 0.5) }
            }
            #expect(heartbeat.nextDeadline(pings) > at(now))
        }
        let silentFrom = now
        while now < silentFrom + 60 {
            now += 0.05
            guard heartbeat.nextDeadline(pings) <= at(now) else { continue }
            if step(&heartbeat, now) == .closeUnresponsive { break }
        }
        #expect(now - silentFrom <= 25 * 1.1 + 20 + 0.4)
    }
}
