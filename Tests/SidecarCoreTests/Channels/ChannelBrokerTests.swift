import NIOCore
import TestSupport
import Testing

@testable import SidecarCore

@Suite("Channels in memory")
struct ChannelBrokerTests {
    private let room = "room"
    private let clock = ManualChannelClock()

    private func broker(size: Int = 3, ttl: TimeAmount = .seconds(10), bytes: Int = 1 << 20) -> MemoryChannelBroker {
        var settings = SettingsRegistry.defaults
        settings.historySize = size
        settings.historyTTL = ttl
        return broker(settings, bytes: bytes)
    }

    private func broker(_ settings: Settings, bytes: Int) -> MemoryChannelBroker {
        let epochs = EpochCounter()
        return MemoryChannelBroker(
            events: BrokerEventRecorder(),
            rules: ChannelRules(settings),
            maxHistoryBytes: bytes,
            servesStreams: false,
            clock: clock.clock,
            makeEpoch: epochs.next
        )
    }

    @discardableResult
    private func publish(
        _ broker: MemoryChannelBroker,
        _ text: String,
        to channel: String = "room",
        now: Int64 = 0
    ) throws -> ChannelPosition {
        let name = try #require(ChannelName(channel))
        clock.set(now)
        let answer = AnswerBox<Result<ChannelPosition, ChannelFailure>>()
        let publication = Publication(channel: name, format: .text, payload: ByteBuffer(string: text))
        broker.publish(ChannelEnvelope(publication), id: nil) { answer.set($0) }
        let result = try #require(answer.value)
        return try result.get()
    }

    private func texts(_ broker: MemoryChannelBroker, after: UInt64? = nil, epoch: String? = nil, now: Int64 = 0)
        async throws -> [String]
    {
        let name = try #require(ChannelName(room))
        clock.set(now)
        return try await broker.history(of: name, .after(after), epoch: epoch, limit: 100).messages
            .map { String(buffer: $0.payload) }
    }

    @Test("Offsets grow by one, and the newest messages are kept")
    func history() async throws {
        let broker = broker()
        for number in 1...5 { #expect(try publish(broker, "\(number)").offset == UInt64(number)) }
        #expect(try await texts(broker) == ["3", "4", "5"])
        #expect(try await texts(broker, after: 2, epoch: "1") == ["3", "4", "5"])
        #expect(try await texts(broker, after: 4) == ["5"])
        #expect(try await texts(broker, after: 5) == [])
        await #expect(throws: ChannelFailure.gone) { try await texts(broker, after: 1) }
        await #expect(throws: ChannelFailure.gone) { try await texts(broker, after: 6) }
        await #expect(throws: ChannelFailure.gone) { try await texts(broker, after: 4, epoch: "2") }
        await #expect(throws: ChannelFailure.gone) { try await texts(broker, after: .max) }
    }

    @Test("The newest can be read, as many as there are, and a part of the oldest")
    func newest() async throws {
        let broker = broker()
        for number in 1...5 { try publish(broker, "\(number)") }
        func texts(_ part: HistoryPart, _ limit: Int) async throws -> [String] {
            try await broker.history(of: try #require(ChannelName(room)), part, epoch: nil, limit: limit)
                .messages.map { String(buffer: $0.payload) }
        }
        #expect(try await texts(.newest, 1) == ["5"])
        #expect(try await texts(.newest, 2) == ["4", "5"])
        #expect(try await texts(.newest, 1000) == ["3", "4", "5"])
        #expect(try await texts(.after(nil), 2) == ["3", "4"])
        #expect(try await texts(.after(3), 1) == ["4"])
    }

    @Test("While nothing is due, forgetting looks at no message, however many channels there are")
    func idle() throws {
        let broker = broker(ttl: .seconds(10), bytes: 1 << 30)
        for number in 0..<20_000 { try publish(broker, "x", to: "c\(number)", now: Int64(number)) }
        for step in 0..<100 { #expect(broker.removeExpired(at: Int64(step) * 90_000_000) == 10_000_000_000) }
        #expect(broker.visits == 0 && broker.statistics.channels == 20_000)
        // What is due is forgotten some at a time, and each message is looked at once.
        #expect(broker.removeExpired(at: 20_000_000_000, atMost: 1_000) == 10_000_001_000)
        #expect(broker.visits == 1_000 && broker.statistics.channels == 19_000)
        while broker.removeExpired(at: 20_000_000_000) != nil {}
        #expect(broker.visits == 20_000 && broker.statistics.channels == 0 && broker.statistics.historyBytes == 0)
    }

    @Test("Messages with another time to live expire when theirs is over, and fall out by age all the same")
    func lanes() async throws {
        var settings = SettingsRegistry.defaults
        settings.historySize = 10
        settings.historyTTL = .seconds(100)
        settings.channelPolicies = try ValueSyntax<[ChannelPolicy]>.channelPolicies.read(
            "short=close,history=10,ttl=1s"
        )
        let one = HistoryBudget.messageOverhead + 1
        let broker = broker(settings, bytes: 3 * one)
        for (index, channel) in ["long", "short", "short"].enumerated() {
            try publish(broker, "x", to: channel, now: Int64(index))
        }
        #expect(broker.removeExpired(at: 1_000_000_000) == 1_000_000_001)
        try publish(broker, "x", to: "short", now: 3)
        try publish(broker, "x", to: "short", now: 4)
        #expect(broker.statistics.historyBytes == 3 * one)
        clock.set(5)
        #expect(try await broker.channels(prefix: "", after: nil, limit: 9).map(\.channel.text) == ["short"])
        #expect(broker.removeExpired(at: 1_000_000_004) == nil && broker.statistics.historyBytes == 0)
    }

    @Test("50,000 channels that are idle hold nobody up", .timeLimit(.minutes(1)))
    func coarseTiming() throws {
        let broker = broker(ttl: .seconds(100), bytes: 1 << 30)
        for number in 0..<50_000 { try publish(broker, "x", to: "c\(number)") }
        let started = ContinuousClock.now
        for _ in 0..<1_000 { _ = broker.removeExpired(at: 1) }
        // One scan of all channels would take milliseconds.
        #expect(ContinuousClock.now - started < .milliseconds(500))
    }

    @Test("What is too old is gone, and with it a channel that nobody is in; the next has another epoch")
    func expiry() async throws {
        let broker = broker(ttl: .seconds(1))
        try publish(broker, "a", now: 0)
        try publish(broker, "b", now: 600_000_000)
        #expect(try await texts(broker, now: 999_999_999) == ["a", "b"])
        #expect(try await texts(broker, now: 1_000_000_000) == ["b"])
        #expect(broker.statistics.channels == 1)
        #expect(broker.removeExpired(at: 1_599_999_999) == 1_600_000_000)
        #expect(broker.removeExpired(at: 1_600_000_000) == nil)
        #expect(broker.statistics.channels == 0 && broker.statistics.historyBytes == 0)
        let anew = try publish(broker, "c")
        #expect(anew.offset == 1 && anew.epoch == ChannelEpoch(2))
    }

    @Test("All histories together stay within their bytes, the oldest falls out first whatever its channel")
    func budget() async throws {
        let broker = broker(size: 100, bytes: 5 * (HistoryBudget.messageOverhead + 1))
        for number in 0..<50 {
            try publish(broker, "x", to: "room\(number % 7)")
            #expect(broker.statistics.historyBytes <= 5 * (HistoryBudget.messageOverhead + 1))
        }
        #expect(broker.statistics.channels == 5)
        let all = try await broker.channels(prefix: "room", after: nil, limit: 10).map(\.channel.text)
        #expect(all == ["room0", "room3", "room4", "room5", "room6"])
    }

    @Test("One old message that is kept does not let the books grow with each that comes and goes elsewhere")
    func books() throws {
        let broker = broker(size: 2)
        try publish(broker, "old", to: "quiet")
        for number in 0..<20_000 { try publish(broker, "\(number)") }
        #expect(broker.budget.ledgerCount <= 2 * 3 + 4096 + 1)
        #expect(broker.statistics.historyBytes == 3 * HistoryBudget.messageOverhead + 3 + 5 + 5)
    }

    @Test("A channel without history lives as long as it is subscribed, with one count")
    func life() throws {
        let broker = broker(size: 0)
        let name = try #require(ChannelName(room))
        let before = try publish(broker, "x")
        #expect(broker.statistics.channels == 0)
        broker.subscribe(name, after: nil, reader: 0, nil)
        let first = try publish(broker, "x")
        let second = try publish(broker, "x")
        #expect(first.epoch != before.epoch && second.epoch == first.epoch)
        #expect(first.offset == 1 && second.offset == 2 && broker.statistics.channels == 1)
        broker.unsubscribe(name)
        #expect(broker.statistics == ChannelBrokerStatistics(channels: 0, historyBytes: 0))
    }

    @Test(
        "What is no name is refused",
        arguments: [
            "", " ", "a b", "a,b", "a\"b", "a\r", "a\nb", "\u{0}", "é", "a\u{7F}", String(repeating: "a", count: 201),
        ]
    )
    func badNames(text: String) {
        #expect(ChannelName(text) == nil)
    }

    @Test(
        "Any other printable character is fine, up to 200 bytes",
        arguments: ["a", "room:1/", "!#$%&'()*+-./:;<=>?@[\\]^_`{|}~"]
    )
    func goodNames(text: String) {
        #expect(ChannelName(text)?.text == text)
        #expect(ChannelName(String(repeating: "a", count: 200)) != nil)
    }

    @Test("A policy is found by the first pattern that matches, and says what the settings don't")
    func policies() throws {
        let syntax = ValueSyntax<[ChannelPolicy]>.channelPolicies
        let text = "ticker:*=latest;chat:*=close,history=100,ttl=1h;chat:x=drop-oldest"
        var settings = SettingsRegistry.defaults
        settings.channelPolicies = try syntax.read(text)
        settings.historySize = 7
        #expect(syntax.show(try syntax.read(text)) == text)
        let rules = ChannelRules(settings)
        func policy(_ name: String) throws -> ChannelPolicy? { rules.policy(for: try #require(ChannelName(name))) }
        #expect(try policy("ticker:a")?.action == .latest && policy("chat:x")?.action == .close)
        #expect(try policy("ticker") == nil)
        let chat = rules.history(of: try #require(ChannelName("chat:1")))
        let other = rules.history(of: try #require(ChannelName("ticker:1")))
        #expect(chat.size == 100 && chat.ttl == 3_600_000_000_000 && other.size == 7)
    }

    @Test(
        "What is no policy is refused",
        arguments: [
            "", "a", "=close", "a=", "a=open", "a*b=close", "a b=close", "a=close,close", "a=history=-1", "a=ttl=0s",
            "a=close;", "a=history=1,history=2",
        ]
    )
    func badPolicies(text: String) {
        #expect(throws: ValueProblem.self) { try ValueSyntax<[ChannelPolicy]>.channelPolicies.read(text) }
    }
}

@Suite("JSON of any form")
struct JSONValueTests {
    @Test("What is read is written again, members by name")
    func roundTrip() throws {
        let text = #" {"b":[1,-2.5,1e3,true,false,null,"\u00e9\n\ud83d\ude00"],"a":{}} "#
        let value = try #require(JSONValue(Array(text.utf8)))
        #expect(value.json == #"{"a":{},"b":[1,-2.5,1000.0,true,false,null,"é\u000a😀"]}"#)
        #expect(JSONValue(Array(value.json.utf8)) == value)
        #expect(JSONValue(Array("9223372036854775808".utf8)) == .number(9_223_372_036_854_775_808))
    }

    @Test(
        "What is no JSON, stands twice or is too deep is refused",
        arguments: [
            "", " ", "{", "[", "[1", "[1,]", "{\"a\"}", "{\"a\":1,}", "{\"a\":1,\"a\":2}", "01", "-", "1.", ".5", "1e",
            "+1",
            "0x1", "NaN", "tru", "\"", "\"\\ud800\"", "1 2", "[1]]", "'a'", "{a:1}", "nul",
            String(repeating: "[", count: 33) + String(repeating: "]", count: 33),
        ]
    )
    func bad(text: String) {
        #expect(JSONValue(Array(text.utf8)) == nil)
        for end in text.utf8.indices { _ = JSONValue(Array(text.utf8[..<end])) }
    }

    @Test("Random damage never crashes it", arguments: UInt64(1)...20)
    func damage(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let whole = Array(#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","x":-1.5e+10},null,true]}"#.utf8)
        for _ in 0..<500 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if let value = JSONValue(bytes) { #expect(JSONValue(Array(value.json.utf8)) != nil) }
        }
    }
}
