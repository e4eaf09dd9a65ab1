import NIOCore
import Testing

@testable import SidecarCore

@Suite("Values of settings")
struct ValueSyntaxTests {
    @Test(
        "a duration is a whole number and its unit",
        arguments: [
            ("500ms", TimeAmount.milliseconds(500)), ("10s", .seconds(10)), ("5m", .minutes(5)), ("1h", .hours(1)),
        ]
    )
    func durations(text: String, expected: TimeAmount) throws {
        #expect(try ValueSyntax.duration(.zero ... .hours(2)).read(text) == expected)
    }

    @Test(
        "what is no duration is refused",
        arguments: [
            "10", "s", "-1s", "+1s", "1.5s", " 1s", "1s ", "1 s", "1S", "1d", "1h30m", "off", "0x1s", "٣s",
            "99999999999999999999s", "9223372036854775807h", "2562048h",
        ]
    )
    func noDurations(text: String) {
        #expect(throws: ValueProblem.self) { try ValueSyntax.duration(.zero ... .hours(2)).read(text) }
    }

    @Test("a duration is tried at its least and most")
    func durationRange() throws {
        let syntax = ValueSyntax.duration(.milliseconds(10) ... .seconds(2))
        #expect(throws: ValueProblem("is less than 10ms")) { try syntax.read("9ms") }
        #expect(try syntax.read("10ms") == .milliseconds(10))
        #expect(try syntax.read("2000ms") == .seconds(2))
        #expect(throws: ValueProblem("is more than 2s")) { try syntax.read("2001ms") }
    }

    @Test("off is a duration only where the limit can be switched off")
    func offDuration() throws {
        let syntax = ValueSyntax.duration(.seconds(1) ... .seconds(2), off: true)
        #expect(try syntax.read("off") == Settings.never)
        #expect(try syntax.read("OFF") == Settings.never)
        #expect(syntax.show(Settings.never) == "off")
        #expect(NIODeadline.distantFuture > NIODeadline.uptimeNanoseconds(1 << 60) + Settings.never)
    }

    @Test(
        "a size is bytes or a number and its unit",
        arguments: [
            ("0", 0), ("512", 512), ("64KiB", 65_536), ("1MiB", 1_048_576), ("2GiB", 2_147_483_648),
            ("1KB", 1_000), ("3MB", 3_000_000), ("1GB", 1_000_000_000),
        ]
    )
    func sizes(text: String, expected: Int) throws {
        #expect(try ValueSyntax.size(0...Int.max).read(text) == expected)
    }

    @Test(
        "what is no size is refused",
        arguments: [
            "", "KiB", "64kib", "64K", "64 KiB", "-1", "1.5MiB", "off", "1MiB,", "9223372036854775808",
            "8589934592GiB", "99999999999999999999KiB",
        ]
    )
    func noSizes(text: String) {
        #expect(throws: ValueProblem.self) { try ValueSyntax.size(0...Int.max).read(text) }
    }

    @Test("a size is tried at its least and most, also in the last unit that fits")
    func sizeRange() throws {
        let syntax = ValueSyntax.size(2...1024)
        #expect(throws: ValueProblem("is less than 2")) { try syntax.read("1") }
        #expect(try syntax.read("2") == 2)
        #expect(try syntax.read("1KiB") == 1024)
        #expect(throws: ValueProblem("is more than 1KiB")) { try syntax.read("1025") }
        #expect(try ValueSyntax.size(0...Int.max).read("8589934591GiB") == 8_589_934_591 << 30)
    }

    @Test("a count is tried at its least and most")
    func counts() throws {
        let syntax = ValueSyntax.count(1...1024)
        #expect(throws: ValueProblem("is less than 1")) { try syntax.read("0") }
        #expect(try syntax.read("1") == 1)
        #expect(try syntax.read("1024") == 1024)
        #expect(throws: ValueProblem("is more than 1024")) { try syntax.read("1025") }
        #expect(throws: ValueProblem("is more than 1024")) { try syntax.read("99999999999999999999") }
        #expect(throws: ValueProblem("is not a whole number")) { try syntax.read("-1") }
        #expect(throws: ValueProblem("is not a whole number")) { try syntax.read("off") }
        #expect(try ValueSyntax.count(1...2, off: true).read("off") == Settings.unlimited)
    }

    @Test("yes and no are written in four ways, in any case")
    func booleans() throws {
        for text in ["true", "True", "on", "yes", "1"] { #expect(try ValueSyntax.boolean.read(text)) }
        for text in ["false", "FALSE", "off", "no", "0"] { #expect(try !ValueSyntax.boolean.read(text)) }
        for text in ["t", "", "2", "enabled"] {
            #expect(throws: ValueProblem.self) { try ValueSyntax.boolean.read(text) }
        }
    }

    @Test("a choice takes its words in any case and no others")
    func choices() throws {
        #expect(try ValueSyntax<LogLevel>.choice.read("WARNING") == .warning)
        #expect(throws: ValueProblem.self) { try ValueSyntax<LogLevel>.choice.read("warn") }
        #expect(ValueSyntax<WebhookFailurePolicy>.choice.accepted == "close, keep")
    }

    @Test("a value is shown in the largest unit that divides it, and read back")
    func shown() throws {
        for (bytes, text) in [(0, "0"), (1000, "1000"), (1024, "1KiB"), (1 << 20, "1MiB"), (3 << 30, "3GiB")] {
            #expect(showSize(bytes) == text)
            #expect(try ValueSyntax.size(0...Int.max).read(text) == bytes)
        }
        for (duration, text) in [
            (TimeAmount.milliseconds(1500), "1500ms"), (.seconds(90), "90s"), (.minutes(90), "90m"), (.hours(2), "2h"),
            (.zero, "0ms"),
        ] {
            #expect(showDuration(duration) == text)
            #expect(try ValueSyntax.duration(.zero ... .hours(9)).read(text) == duration)
        }
    }

    @Test("header names are tokens in lower case, each once, and none that Sidesocket sets")
    func headers() throws {
        let syntax = ValueSyntax<[String]>.forwardableHeaders
        #expect(try syntax.read(" Cookie , X-Tenant,cookie") == ["cookie", "x-tenant"])
        #expect(try syntax.read("") == [])
        let refused = [
            "ce-id", "Webhook-Signature", "X-Forwarded-For", "x_forwarded_for", "Forwarded", "Host", "content-length",
            "connection", "sidesocket-user", "a b", "a:", "cookie,", ",", "ü",
        ]
        for text in refused { #expect(throws: ValueProblem.self, "\(text)") { try syntax.read(text) } }
    }

    @Test("a node name is safe in a path and a log line")
    func nodeNames() throws {
        let longest = String(repeating: "n", count: 128)
        #expect(try ValueSyntax.nodeName.read("pod-7.eu_1") == "pod-7.eu_1")
        #expect(try ValueSyntax.nodeName.read(longest) == longest)
        for text in [longest + "n", "a b", "a/b", "a\n", "ü", "a\"b"] {
            #expect(throws: ValueProblem.self) { try ValueSyntax.nodeName.read(text) }
        }
    }
}
