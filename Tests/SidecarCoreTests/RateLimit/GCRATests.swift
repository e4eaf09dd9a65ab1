import NIOCore
import Testing

@testable import SidecarCore

private let second: Int64 = 1_000_000_000

@Suite("GCRA")
struct GCRATests {
    @Test("a rest gives a whole burst, and not one more", arguments: [1, 2, 3, 7, 40, 1000] as [Int64])
    func burst(burst: Int64) {
        for count in [1, 3, 7, 20, 1000] as [Int64] {
            let gcra = GCRA(Rate(count, per: .seconds(1), burst: burst))
            for cost in [burst - 1, burst, burst + 1] {
                var tat = GCRA.full
                let verdict = gcra.take(cost, tat: &tat, now: 5)
                #expect((verdict == .allowed) == (cost <= burst))
            }
        }
    }

    @Test("tokens taken singly are as many as the burst, and come back one by one")
    func singly() {
        let gcra = GCRA(Rate(20, per: .seconds(1), burst: 40))
        var tat = GCRA.full
        for _ in 0..<40 { #expect(gcra.take(tat: &tat, now: 0) == .allowed) }
        #expect(gcra.take(tat: &tat, now: 0) == .limited(retryAfter: 50_000_000))
        #expect(gcra.take(tat: &tat, now: 49_999_999) == .limited(retryAfter: 1))
        #expect(gcra.take(tat: &tat, now: 50_000_000) == .allowed)
        #expect(gcra.take(tat: &tat, now: 50_000_000) == .limited(retryAfter: 50_000_000))
    }

    @Test("a third of a second does not lose a token to rounding")
    func thirds() {
        let gcra = GCRA(Rate(3, per: .seconds(1)))
        var tat = GCRA.full
        for _ in 0..<3 { #expect(gcra.take(tat: &tat, now: 0) == .allowed) }
        #expect(gcra.take(tat: &tat, now: 0) != .allowed)
        for _ in 0..<3 { #expect(gcra.take(tat: &tat, now: second) == .allowed) }
        #expect(gcra.take(tat: &tat, now: second) != .allowed)
    }

    @Test("more than the burst is never there, and nothing costs nothing")
    func oddCosts() {
        let gcra = GCRA(Rate(10, per: .seconds(1)))
        var tat = GCRA.full
        #expect(gcra.take(11, tat: &tat, now: 0) == .limited(retryAfter: .max))
        #expect(gcra.take(.max, tat: &tat, now: 0) == .limited(retryAfter: .max))
        for cost in [0, -1, Int64.min] {
            #expect(gcra.take(cost, tat: &tat, now: 0) == .allowed)
            #expect(gcra.takeInDebt(cost, tat: &tat, now: 0) == 0)
        }
        #expect(tat == GCRA.full)
    }

    @Test("in debt all is taken, and the pause lasts until one token is there")
    func debt() {
        let gcra = GCRA(Rate(10, per: .seconds(1)))
        var tat = GCRA.full
        #expect(gcra.takeInDebt(9, tat: &tat, now: 0) == 0)
        #expect(gcra.takeInDebt(1, tat: &tat, now: 0) == second / 10)
        #expect(gcra.takeInDebt(10, tat: &tat, now: 0) == second + second / 10)
        #expect(gcra.remaining(tat, now: 0) == 0)
        #expect(gcra.resetAfter(tat, now: 0) == 2 * second)
        #expect(gcra.takeInDebt(0, tat: &tat, now: second) == second / 10)
        #expect(gcra.takeInDebt(0, tat: &tat, now: second + second / 10) == 0)
        #expect(gcra.remaining(tat, now: second + second / 10) == 1)
    }

    @Test("a clock that steps back gives nothing away")
    func backwards() {
        let gcra = GCRA(Rate(10, per: .seconds(1)))
        var tat = GCRA.full
        for _ in 0..<10 { #expect(gcra.take(tat: &tat, now: second) == .allowed) }
        #expect(gcra.take(tat: &tat, now: 0) == .limited(retryAfter: second + second / 10))
        #expect(gcra.takeInDebt(0, tat: &tat, now: 0) == second + second / 10)
        #expect(gcra.remaining(tat, now: 0) == 0)
        #expect(gcra.remaining(tat, now: .min) == 0)
        #expect(gcra.take(tat: &tat, now: .min) != .allowed)
        #expect(gcra.take(tat: &tat, now: second + second / 10) == .allowed)
    }

    @Test("a huge gap fills the bucket and no more")
    func gap() {
        let gcra = GCRA(Rate(10, per: .seconds(1), burst: 4))
        var tat = GCRA.full
        #expect(gcra.takeInDebt(1000, tat: &tat, now: .min) > 0)
        #expect(gcra.remaining(tat, now: .max - 10 * second) == 4)
        for _ in 0..<4 { #expect(gcra.take(tat: &tat, now: .max - 10 * second) == .allowed) }
        #expect(gcra.take(tat: &tat, now: .max - 10 * second) == .limited(retryAfter: second / 10))
    }

    @Test("no cost and no time overflows")
    func saturation() {
        let times: [Int64] = [.min, .min + 1, -1, 0, 1, second, .max - 1, .max]
        let rates = [
            Rate(1, per: .milliseconds(1)), Rate(1, per: .hours(24), burst: .max),
            Rate(.max, per: .hours(24), unit: .bytes), Rate(.max, per: .milliseconds(1), burst: 1, unit: .bytes),
            Rate(.max, per: .milliseconds(1), unit: .bytes), Rate(7, per: .milliseconds(999), burst: .max),
        ]
        for rate in rates {
            let gcra = GCRA(rate)
            for before in times {
                for now in times {
                    for cost in times {
                        var tat = before
                        if case .limited(let wait) = gcra.take(cost, tat: &tat, now: now) {
                            #expect(wait > 0)
                            #expect(tat == before)
                        }
                        #expect(gcra.takeInDebt(cost, tat: &tat, now: now) >= 0)
                        #expect(tat >= before)
                        #expect((0...rate.burst).contains(gcra.remaining(tat, now: now)))
                        #expect(gcra.resetAfter(tat, now: now) >= 0)
                    }
                }
            }
        }
    }

    @Test("it agrees with a token bucket on random takes where the period is a multiple of the count")
    func modelExact() {
        let rates = [
            Rate(20, per: .seconds(1), burst: 40), Rate(600, per: .minutes(1), burst: 100), Rate(1, per: .hours(24)),
            Rate(1_000_000, per: .seconds(1), burst: 17), Rate(1_000_000_000, per: .seconds(1), unit: .bytes),
            Rate(3, per: .minutes(1), burst: 1), Rate(9, per: .milliseconds(900), burst: 365),
        ]
        var random = RepeatableRandom(seed: 1)
        for rate in rates {
            let gcra = GCRA(rate)
            let interval = rate.period.nanoseconds / rate.count
            var model = TokenBucketModel(rate)
            var tat = GCRA.full
            var now = Int64.random(in: -second...second, using: &random)
            for _ in 0..<5_000 {
                now += randomStep(interval: interval, burst: rate.burst, using: &random)
                model.advance(to: now)
                let cost = Int64.random(
                    in: 1...min(rate.burst, 1 << Int64.random(in: 0...30, using: &random)),
                    using: &random
                )
                if Bool.random(using: &random) {
                    let expected: GCRA.Verdict =
                        model.has(cost) ? .allowed : .limited(retryAfter: model.wait(for: cost))
                    let verdict = gcra.take(cost, tat: &tat, now: now)
                    #expect(verdict == expected)
                    if verdict == .allowed { model.remove(cost) }
                } else {
                    model.remove(cost)
                    #expect(gcra.takeInDebt(cost, tat: &tat, now: now) == model.wait(for: 1))
                }
                #expect(gcra.remaining(tat, now: now) == model.tokens)
                #expect(gcra.resetAfter(tat, now: now) == model.untilFull)
            }
        }
    }

    @Test("elsewhere it refuses only what a token bucket refuses, and errs by a nanosecond per take at most")
    func modelRounded() {
        let rates = [
            Rate(3, per: .seconds(1)), Rate(7, per: .minutes(1), burst: 50),
            Rate(77, per: .milliseconds(1), burst: 999),
            Rate(1 << 20, per: .seconds(1), burst: 4 << 20, unit: .bytes), Rate(999_983, per: .seconds(1)),
        ]
        var random = RepeatableRandom(seed: 2)
        for rate in rates {
            let gcra = GCRA(rate)
            let interval = rate.period.nanoseconds / rate.count
            var model = TokenBucketModel(rate)
            var tat = GCRA.full
            var now: Int64 = 0
            var takes = 0
            for _ in 0..<5_000 {
                now += randomStep(interval: interval, burst: rate.burst, using: &random)
                model.advance(to: now)
                let cost = Int64.random(
                    in: 1...min(rate.burst, 1 << Int64.random(in: 0...22, using: &random)),
                    using: &random
                )
                if gcra.take(cost, tat: &tat, now: now) == .allowed {
                    #expect(model.isWithin(takes, of: cost))
                    model.remove(cost)
                    takes += 1
                } else {
                    #expect(!model.has(cost))
                }
            }
            #expect(takes > 100)
        }
    }

    @Test("what remains can be taken and not one more, and the time to wait is exact")
    func remainingIsExact() {
        var random = RepeatableRandom(seed: 3)
        for _ in 0..<5_000 {
            let rate = Rate(
                1 << Int64.random(in: 0...30, using: &random) + Int64.random(in: 0...99, using: &random),
                per: .milliseconds(.random(in: 1...100_000, using: &random)),
                burst: 1 << Int64.random(in: 0...30, using: &random)
            )
            let gcra = GCRA(rate)
            let now = Int64.random(in: 0...second, using: &random)
            var tat = GCRA.full
            _ = gcra.takeInDebt(.random(in: 1...rate.burst, using: &random), tat: &tat, now: now)
            let remaining = gcra.remaining(tat, now: now)
            var copy = tat
            #expect(gcra.take(remaining, tat: &copy, now: now) == .allowed)
            copy = tat
            guard case .limited(let wait) = gcra.take(remaining + 1, tat: &copy, now: now) else {
                Issue.record("\(rate) gave more than the \(remaining) that remained")
                continue
            }
            guard wait != .max else { continue }
            #expect(gcra.take(remaining + 1, tat: &copy, now: now + wait - 1) == .limited(retryAfter: 1))
            #expect(gcra.take(remaining + 1, tat: &copy, now: now + wait) == .allowed)
        }
    }

    /// No time, a few nanoseconds, about a token's worth, or about a burst's worth.
    private func randomStep(interval: Int64, burst: Int64, using random: inout RepeatableRandom) -> Int64 {
        switch Int.random(in: 0..<8, using: &random) {
        case 0...2: 0
        case 3: .random(in: 0...3, using: &random)
        case 4...6: .random(in: 0...interval * 2, using: &random)
        default: .random(in: 0...interval * burst * 2, using: &random)
        }
    }
}
