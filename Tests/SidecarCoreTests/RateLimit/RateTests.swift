import NIOCore
import Testing

@testable import SidecarCore

@Suite("Rates")
struct RateTests {
    @Test(
        "a rate of events is read and shown in its shortest form",
        arguments: [
            ("20/1s", Rate(20, per: .seconds(1)), "20/1s"),
            ("20/1s,burst=40", Rate(20, per: .seconds(1), burst: 40), "20/1s,burst=40"),
            ("600/1m,burst=100", Rate(600, per: .minutes(1), burst: 100), "600/1m,burst=100"),
            ("5/1000ms", Rate(5, per: .seconds(1)), "5/1s"),
            ("5/500ms,burst=5", Rate(5, per: .milliseconds(500)), "5/500ms"),
            ("1/24h", Rate(1, per: .hours(24)), "1/24h"),
            ("01/60m", Rate(1, per: .hours(1)), "1/1h"),
            ("2048/1s", Rate(2048, per: .seconds(1)), "2048/1s"),
        ]
    )
    func events(text: String, expected: Rate, shown: String) throws {
        let rate = try Rate.read(text, .events)
        #expect(rate == expected)
        #expect(rate.description == shown)
        #expect(try Rate.read(shown, .events) == rate)
    }

    @Test(
        "a rate of bytes takes the units of sizes",
        arguments: [
            ("1MiB/1s", Rate(1 << 20, per: .seconds(1), unit: .bytes), "1MiB/1s"),
            ("1MiB/1s,burst=4MiB", Rate(1 << 20, per: .seconds(1), burst: 4 << 20, unit: .bytes), "1MiB/1s,burst=4MiB"),
            ("64KB/10s,burst=1", Rate(64000, per: .seconds(10), burst: 1, unit: .bytes), "64000/10s,burst=1"),
            ("512/1m", Rate(512, per: .minutes(1), unit: .bytes), "512/1m"),
            ("1024GiB/1s", Rate(1 << 40, per: .seconds(1), unit: .bytes), "1024GiB/1s"),
        ]
    )
    func bytes(text: String, expected: Rate, shown: String) throws {
        let rate = try Rate.read(text, .bytes)
        #expect(rate == expected)
        #expect(rate.description == shown)
        #expect(try Rate.read(shown, .bytes) == rate)
    }

    @Test(
        "what is no rate is refused with the part that is wrong",
        arguments: [
            ("", "has no / between its count and its period"),
            ("20", "has no / between its count and its period"),
            ("20,burst=4/1s", "has no / between its count and its period"),
            ("/1s", "has no count"),
            ("x/1s", "has a count that is not a whole number"),
            ("-1/1s", "has a count that is not a whole number"),
            ("+1/1s", "has a count that is not a whole number"),
            ("1.5/1s", "has a count that is not a whole number"),
            (" 1/1s", "has a count that is not a whole number"),
            ("٣/1s", "has a count that is not a whole number"),
            ("1KiB/1s", "has a count that is not a whole number"),
            ("1/", "has no period"),
            ("/", "has no count"),
            ("1/1s,burst=", "has no burst"),
            ("1/s", "has a period that does not begin with a number"),
            ("1/1", "has a period that has no unit of time (ms, s, m, h) after its number"),
            ("1/1s/2s", "has a period that has no unit of time (ms, s, m, h) after its number"),
            ("1/1s,", "has something other than burst= after its comma"),
            ("1/1s, burst=2", "has something other than burst= after its comma"),
            ("1/1s,bursts=2", "has something other than burst= after its comma"),
            ("1/1s,burst=2,burst=3", "has a burst that is not a whole number"),
            ("1/1s,burst=-2", "has a burst that is not a whole number"),
        ]
    )
    func faults(text: String, problem: String) {
        #expect(throws: ValueProblem(problem)) { try Rate.read(text, .events) }
    }

    @Test("count, period and burst are tried at their least and most")
    func ranges() throws {
        #expect(throws: ValueProblem("has a count that is less than 1")) { try Rate.read("0/1s", .events) }
        #expect(try Rate.read("1/1s", .events).count == 1)
        #expect(try Rate.read("1000000000/1s", .events).count == 1_000_000_000)
        #expect(throws: ValueProblem("has a count that is more than 1000000000")) {
            try Rate.read("1000000001/1s", .events)
        }
        #expect(throws: ValueProblem.self) { try Rate.read("99999999999999999999/1s", .events) }

        #expect(throws: ValueProblem("has a period that is less than 1ms")) { try Rate.read("1/0s", .events) }
        #expect(try Rate.read("1/1ms", .events).period == .milliseconds(1))
        #expect(try Rate.read("1/86400s", .events).period == .hours(24))
        #expect(throws: ValueProblem("has a period that is more than 24h")) { try Rate.read("1/86401s", .events) }

        #expect(throws: ValueProblem("has a burst that is less than 1")) { try Rate.read("1/1s,burst=0", .events) }
        #expect(try Rate.read("1/24h,burst=364", .events).burst == 364)
        #expect(try Rate.read("1/24h,burst=365", .events).burst == 365)
        #expect(throws: ValueProblem("has a burst that takes more than 365 days to refill")) {
            try Rate.read("1/24h,burst=366", .events)
        }
        #expect(throws: ValueProblem("has a burst that is more than 1024GiB")) {
            try Rate.read("1024GiB/1s,burst=1025GiB", .bytes)
        }
    }

    @Test("a rate made of numbers outside the ranges takes the nearest within")
    func clamping() {
        #expect(Rate(0, per: .zero, burst: -5) == Rate(1, per: .milliseconds(1), burst: 1))
        #expect(Rate(.min, per: .nanoseconds(.min), burst: .min) == Rate(1, per: .milliseconds(1), burst: 1))
        let most = Rate(.max, per: .nanoseconds(.max), burst: .max)
        #expect(most == Rate(1_000_000_000, per: .hours(24), burst: 1_000_000_000))
        #expect(Rate(1, per: .hours(24), burst: .max).burst == 365)
        #expect(Rate(1, per: .nanoseconds(1_999_999)).period == .milliseconds(1))
    }

    @Test("a rate as a setting may be off")
    func setting() throws {
        let syntax = ValueSyntax.rate(.events)
        #expect(try syntax.read("off") == .some(nil))
        #expect(try syntax.read("OFF") == .some(nil))
        #expect(try syntax.read("3/1s") == Rate(3, per: .seconds(1)))
        #expect(syntax.show(nil) == "off")
        #expect(syntax.show(Rate(3, per: .seconds(1), burst: 9)) == "3/1s,burst=9")
    }
}
