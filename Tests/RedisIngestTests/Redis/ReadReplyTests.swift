import NIOCore
import RedisClient
import Testing

@testable import RedisIngest

@Suite("Answers of the script that reads")
struct ReadReplyTests {
    private func text(_ text: String) -> RESPValue { .bulk(ByteBuffer(string: text)) }

    private func reply(_ entries: [RESPValue], time: Int64 = 10_000, last: RESPValue = .null) -> ReadReply? {
        ReadReply(.array([.integer(time), .integer(1), last, .array(entries)]), maxMessageBytes: 100)
    }

    private func entry(_ id: String) -> RESPValue {
        .array([text(id), .array(["channel", "room", "text", "a"].map(text))])
    }

    private func age(_ id: String, time: Int64) -> TimeAmount? {
        guard case .taken(let entries, _, _)? = reply([entry(id)], time: time) else { return nil }
        return entries.first?.age
    }

    @Test("Messages, oversize, removed and bad entries are told apart")
    func contents() {
        let entries = [
            entry("9000-1"), .array([text("9000-2"), .integer(5_000)]), .array([text("9000-3"), .null]),
            .array([text("9000-4"), .array([])]),
        ]
        guard case .taken(let taken, .perhaps, let last)? = reply(entries, last: text("7-0")) else {
            return #expect(Bool(false))
        }
        #expect(taken.map(\.id) == (1...4).map { EntryID(9_000, $0) } && last == EntryID(7, 0))
        guard case .message = taken[0].content else { return #expect(Bool(false)) }
        #expect(taken[1].content == .bad(.entryTooLarge(bytes: 5_000)))
        #expect(taken[2].content == .removed && taken[3].content == .bad(.noChannel))
    }

    @Test("The age of an entry is by the server's clock; an id that is no time has none")
    func ages() {
        #expect(age("9000-0", time: 10_000) == .seconds(1))
        #expect(age("11000-0", time: 10_000) == .zero)
        #expect(age("1-1", time: 1_700_000_000_000) == nil)
        #expect(age("18446744073709551615-0", time: 10_000) == nil)
        #expect(age("9223372036854775807-0", time: -10) == nil)
    }

    @Test("Without the lease there is nothing")
    func refused() { #expect(ReadReply(.integer(0), maxMessageBytes: 1) == .refused) }

    @Test("Other shapes are not taken for an answer")
    func shapes() {
        #expect(ReadReply(.null, maxMessageBytes: 1) == nil)
        #expect(ReadReply(.array([]), maxMessageBytes: 1) == nil)
        #expect(reply([.null]) == nil)
        #expect(reply([.array([text("x"), .array([])])]) == nil)
        #expect(reply([.array([text("1-1"), text("x")])]) == nil)
        #expect(reply([.array([text("1-1")])]) == nil)
    }
}
