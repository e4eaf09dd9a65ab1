import NIOCore
import RedisIngest
import SidecarCore
import Testing

@Suite("Fields of an entry")
struct IngestEntryTests {
    private func entry(_ fields: [String], limit: Int = 100) throws(IngestFault) -> IngestEntry {
        try IngestEntry(fields: fields.map { ByteBuffer(string: $0) }, maxMessageBytes: limit)
    }

    private func fault(_ fields: [String], limit: Int = 100) -> IngestFault? {
        do {
            _ = try entry(fields, limit: limit)
            return nil
        } catch {
            return error
        }
    }

    @Test("Text with all fields is read, in any order")
    func text() throws {
        let entry = try entry(["text", "hé", "id", "k1", "exclude", "c7", "event", "note", "channel", "room"])
        let channel = try #require(ChannelName("room"))
        let payload = ByteBuffer(string: "hé")
        #expect(entry.publication == Publication(channel: channel, format: .text, payload: payload, event: "note"))
        #expect(entry.excluded == "c7" && entry.id == "k1")
    }

    @Test("Base64 is a binary message")
    func base64() throws {
        let entry = try entry(["channel", "room", "base64", "AP8="])
        #expect(entry.publication.format == .binary)
        #expect(entry.publication.payload == ByteBuffer(bytes: [0, 255]))
        #expect(entry.excluded == nil && entry.id == nil && entry.publication.event == nil)
    }

    @Test("A message may be empty, and an empty exclude excludes nobody")
    func empty() throws {
        #expect(try entry(["channel", "room", "text", ""]).publication.payload.readableBytes == 0)
        #expect(try entry(["channel", "room", "base64", ""]).publication.payload.readableBytes == 0)
        #expect(try entry(["channel", "room", "text", "a", "exclude", ""]).excluded == nil)
    }

    @Test("Missing and doubtful fields are told apart")
    func missing() {
        #expect(fault([]) == .noChannel)
        #expect(fault(["text", "a"]) == .noChannel)
        #expect(fault(["channel", "room"]) == .noMessage)
        #expect(fault(["channel", "room", "text", "a", "base64", "YQ=="]) == .twoMessages)
        #expect(fault(["channel", "room", "text", "a", "text", "b"]) == .repeatedField("text"))
        #expect(fault(["channel", "room", "text", "a", "evnt", "b"]) == .unknownField("\"evnt\""))
        #expect(fault(["channel", "room", "text"]) == .notPairs)
    }

    @Test("The name of an unknown field is shown without what could disturb a log, and not at length")
    func unknownNames() {
        #expect(fault(["a\nb \u{1}", ""]) == .unknownField("\"a?b??\""))
        let shown = String(repeating: "x", count: 40)
        #expect(fault([shown, ""]) == .unknownField("\"\(shown)\""))
        #expect(fault([shown + "x", ""]) == .unknownField("\"\(shown)…\""))
        #expect(fault(["", ""]) == .unknownField("\"\""))
    }

    @Test("A channel has to be a name", arguments: ["", "a b", "a,b", "a\"b", "ä", String(repeating: "x", count: 201)])
    func channel(_ name: String) { #expect(fault(["channel", name, "text", "a"]) == .badChannel) }

    @Test("An event has to be a type, at most 128 characters long")
    func event() throws {
        for type in ["", "a\nb", "ä", String(repeating: "x", count: 129)] {
            #expect(fault(["channel", "room", "text", "a", "event", type]) == .badEvent)
        }
        let longest = String(repeating: "x", count: 128)
        #expect(try entry(["channel", "room", "text", "a", "event", longest]).publication.event == longest)
    }

    @Test("An id has 1 to 256 bytes")
    func id() throws {
        #expect(fault(["channel", "room", "text", "a", "id", ""]) == .badID)
        #expect(fault(["channel", "room", "text", "a", "id", String(repeating: "x", count: 257)]) == .badID)
        let longest = String(repeating: "x", count: 256)
        #expect(try entry(["channel", "room", "text", "a", "id", longest]).id == longest)
    }

    @Test("Base64 without padding, with another alphabet or with spaces is not valid")
    func badBase64() {
        for text in ["AP8", "AP8-", "AP_8", "AP 8", "====", "A===", "AP8=\n"] {
            #expect(fault(["channel", "room", "base64", text]) == .badBase64)
        }
    }

    @Test("What is not UTF-8 is not taken for text")
    func badUTF8() {
        func fault(_ field: String) -> IngestFault? {
            let bad = ByteBuffer(bytes: [0x61, 0xC3, 0x28])
            var fields = ["channel", "room", "text", "a"].map { ByteBuffer(string: $0) }
            if field == "text" || field == "channel" { fields.removeAll { $0 == ByteBuffer(string: field) } }
            switch field {
            case "text": fields = [ByteBuffer(string: "channel"), ByteBuffer(string: "room")]
            case "channel": fields = [ByteBuffer(string: "text"), ByteBuffer(string: "a")]
            default: break
            }
            do throws(IngestFault) {
                _ = try IngestEntry(fields: fields + [ByteBuffer(string: field), bad], maxMessageBytes: 100)
                return nil
            } catch {
                return error
            }
        }
        #expect(fault("text") == .badText)
        #expect(fault("channel") == .badChannel)
        #expect(fault("event") == .badEvent)
        #expect(fault("exclude") == .badExclude)
        #expect(fault("id") == .badID)
        #expect(fault("base64") == .twoMessages)
    }

    @Test("A message may have as many bytes as the limit says, and no more")
    func sizes() throws {
        for count in [9, 10] {
            let text = String(repeating: "x", count: count)
            #expect(try entry(["channel", "room", "text", text], limit: 10).publication.payload.readableBytes == count)
        }
        let long = String(repeating: "x", count: 11)
        #expect(fault(["channel", "room", "text", long], limit: 10) == .tooLarge(bytes: 11, limit: 10))
        // 9, 10 and 11 bytes.
        #expect(fault(["channel", "room", "base64", "AAAAAAAAAAAA"], limit: 10) == nil)
        #expect(fault(["channel", "room", "base64", "AAAAAAAAAAAAAA=="], limit: 10) == nil)
        #expect(
            fault(["channel", "room", "base64", "AAAAAAAAAAAAAAA="], limit: 10) == .tooLarge(bytes: 11, limit: 10)
        )
    }

    @Test("Each fault says in a sentence what is wrong and how to mend it")
    func sentences() {
        let faults: [IngestFault] = [
            .noChannel, .badChannel, .noMessage, .twoMessages, .badText, .badBase64, .tooLarge(bytes: 5, limit: 4),
            .entryTooLarge(bytes: 9), .badEvent, .badExclude, .badID, .repeatedField("text"), .unknownField("\"x\""),
            .notPairs,
        ]
        for fault in faults { #expect(fault.sentence.hasSuffix(".") && fault.sentence.count > 20) }
        #expect(IngestFault.tooLarge(bytes: 5, limit: 4).sentence.contains("5 bytes"))
    }
}
