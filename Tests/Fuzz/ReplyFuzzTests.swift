import FoundationEssentials
import HTTP1
import NIOCore
import SidecarCore
import Testing

/// Feeds answers of the app, whole and damaged, to what reads them, and sends what was read on its way.
///
/// A seed is a reply as the app sends it, head and body; its body goes on to the end of the connection, so that no
/// length must fit. An input that ever crashed or broke a property is added to the seeds.
@Suite("Fuzz: webhook replies")
struct ReplyFuzzTests {
    @Test("Every seed is read, twice the same, and so is what is left of it when it is cut at any byte")
    func seeds() throws {
        let seeds = try ReplySeeds.load()
        #expect(seeds.count >= 20)
        var accepted = 0
        for (name, bytes) in seeds {
            let verdict = ReplyVerdict(bytes)
            #expect(verdict == ReplyVerdict(bytes) && verdict.fault == nil, "\(name): \(verdict.fault ?? "")")
            #expect(verdict.isAccepted == !name.hasPrefix("bad-"), "\(name): \(verdict.text)")
            if verdict.isAccepted { accepted += 1 }
            for length in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 400)) {
                let cut = ReplyVerdict(Array(bytes[..<length]))
                #expect(cut.fault == nil, "\(name) cut at \(length): \(cut.fault ?? "")")
            }
        }
        #expect(accepted >= 5)
    }

    @Test("Damaged seeds never crash, are read twice the same, and nothing unfit comes out of them")
    func mutations() throws {
        let seeds = try ReplySeeds.load().map(\.bytes)
        let wanted = ProcessInfo.processInfo.environment["SIDESOCKET_FUZZ_ITERATIONS"].flatMap { Int($0) }
        var mutator = ReplyMutator(state: 0x5EED_7231)
        var accepted = 0
        for iteration in 0..<max(wanted ?? 20_000, 0) {
            let bytes = mutator.input(from: seeds)
            let verdict = ReplyVerdict(bytes)
            if verdict.isAccepted { accepted += 1 }
            if verdict.fault != nil || verdict != ReplyVerdict(bytes) {
                Issue.record("iteration \(iteration): \(verdict.fault ?? "not the same twice"): \(bytes)")
                return
            }
        }
        // Damage that always breaks the frame would test nothing behind it.
        #expect(accepted > (wanted ?? 20_000) / 50)
    }
}

/// What was made of some bytes, and what is wrong with that.
private struct ReplyVerdict: Equatable {
    private static let dialect = CloudEventsDialect(
        nodeName: "node",
        authority: "app",
        preserveHost: false,
        webhookPath: nil,
        forwardedHeaders: []
    )

    private(set) var text = "no head"
    private(set) var isAccepted = false
    private(set) var fault: String?

    init(_ bytes: [UInt8]) {
        guard let (head, body) = Self.read(bytes) else { return }
        do throws(DeliveryFailure) {
            let reply = try Self.dialect.decode(head, body, events: 1)
            isAccepted = true
            text = "\(reply)"
            check(reply, head)
        } catch {
            text = error.sentence
            if error.sentence.isEmpty || CloseRequest(code: Int(error.closeCode.rawValue), reason: "") == nil {
                fault = "a failure that cannot be told"
            }
        }
    }

    private static func read(_ bytes: [UInt8]) -> (HTTPReplyHead, ByteBuffer)? {
        var reader = HTTPReplyReader(limits: HTTPLimits())
        reader.expectReply(to: .other)
        var input = ByteBuffer(bytes: bytes)
        reader.append(&input)
        var head: HTTPReplyHead?
        var body = ByteBuffer()
        do throws(HTTPParseError) {
            while let part = try reader.next() {
                if case .head(let final) = part { head = final }
                if case .body(let piece) = part { body.writeImmutableBuffer(piece) }
            }
        } catch {
            return nil
        }
        return head.map { ($0, body) }
    }

    private mutating func check(_ reply: SessionReply, _ head: HTTPReplyHead) {
        if !(200..<300).contains(head.status) { fault = "accepted with status \(head.status)" }
        checkIdentity(user: reply.user, state: reply.state)
        if let close = reply.close { check(close) }
        switch reply.output {
        case .none: break
        case .message(let format, let payload): check(format, payload)
        case .commands(let commands):
            if commands.count > 1024 { fault = "\(commands.count) commands" }
            for command in commands {
                switch command {
                case .send(let format, let payload): check(format, payload)
                case .user(let user): checkIdentity(user: user, state: nil)
                case .state(let state): checkIdentity(user: nil, state: state)
                case .close(let close): check(close)
                case .subscribe(let channel), .unsubscribe(let channel): check(channel)
                case .publish(let publication, _):
                    check(publication.channel)
                    check(publication.format, publication.payload)
                }
            }
        }
        for channel in reply.subscribe + reply.unsubscribe + reply.publish { check(channel) }
        checkUpgrade(head)
    }

    private mutating func check(_ channel: ChannelName) {
        if ChannelName(channel.text) != channel { fault = "a name that is none" }
    }

    private mutating func check(_ format: MessageFormat, _ payload: ByteBuffer) {
        if format == .text, String(validating: payload.readableBytesView, as: UTF8.self) == nil {
            fault = "text that is no UTF-8"
        }
    }

    private mutating func check(_ close: CloseRequest) {
        if close.reason.utf8.count > CloseRequest.maxReasonBytes { fault = "a reason too long for a Close frame" }
        if CloseRequest(code: Int(close.code.rawValue), reason: close.reason) != close {
            fault = "a code not to be sent"
        }
        let report = CloseReport(
            code: close.code,
            reason: close.reason,
            initiator: .server,
            messagesIn: 0,
            messagesOut: 0,
            durationMilliseconds: 0
        )
        if !report.json.readableBytesView.allSatisfy({ $0 >= 0x20 }) { fault = "a control character in the report" }
    }

    /// What the app has named goes into the heads of later events.
    private mutating func checkIdentity(user: UserName?, state: String?) {
        if let user, user.text.utf8.count > UserName.maxBytes { fault = "a user's name too long" }
        if let state, state.utf8.count > SessionReply.maxStateBytes { fault = "a state too long" }
        let identity = ConnectionIdentity(user: user, state: state)
        guard let kept = try? ConnectionIdentity(record: identity.record), kept == identity else {
            fault = "an identity that the outbox cannot keep"
            return
        }
        guard let lines = Self.dialect.prepare(identity)?.bytes else { return }
        let text = String(decoding: lines, as: UTF8.self)
        let expected = (user == nil ? 0 : 1) + (state == nil ? 0 : 1)
        let isPlain = lines.allSatisfy { (0x20..<0x7F).contains($0) || $0 == 0x0D || $0 == 0x0A }
        if !isPlain || text.split(separator: "\r\n").count != expected {
            fault = "identity lines that are not one each"
        }
    }

    /// The same head as the answer to `open` goes into a 101, which must be one head for the client.
    private mutating func checkUpgrade(_ head: HTTPReplyHead) {
        guard let switching = try? SwitchingProtocols(acceptKey: "x", reply: head, offered: ["chat"]) else { return }
        var answer = ByteBuffer()
        HTTPResponseWriter.write(switching, into: &answer)
        let text = String(decoding: answer.readableBytesView, as: Unicode.ASCII.self)
        if text.split(separator: "\r\n\r\n", omittingEmptySubsequences: false).count != 2 || !text.hasSuffix("\r\n\r\n")
        {
            fault = "a 101 that is not one head"
        }
    }
}

private enum ReplySeeds {
    static func load(file: String = #filePath) throws -> [(name: String, bytes: [UInt8])] {
        let here = file.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        let directory = here + "/Seeds/webhook-reply"
        return try FileManager.default.contentsOfDirectory(atPath: directory)
            .filter { !$0.hasPrefix(".") }
            .sorted()
            .compactMap { name in
                FileManager.default.contents(atPath: directory + "/" + name).map { (name, [UInt8]($0)) }
            }
    }
}

/// Damages inputs the same way in each run.
private struct ReplyMutator {
    var state: UInt64

    private static let phrases: [[UInt8]] = [
        "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u0000", "\\ud800", "\r\n", "\u{0}", "null", "true", "-1", "1e400",
        "70000", "1005", "{\"send\":", "{\"text\":\"a\"}", "{\"user\":\"a\"},", "{\"close\":{\"code\":4000}}", "YQ==",
        "Sidesocket-Close: 4000 x\r\n", "Sidesocket-User: \r\n", "Content-Encoding: gzip\r\n", "text/plain", "é", "😀",
        "Sec-WebSocket-Protocol: chat\r\n", "Connection: x\r\n", "[[[[[[[[[[[[[[[[",
    ].map { Array($0.utf8) }

    /// A seed with some bytes changed, sometimes joined with another.
    mutating func input(from seeds: [[UInt8]]) -> [UInt8] {
        // Long seeds would take all the time; their first bytes hold what is worth changing.
        var bytes = Array(seeds[below(seeds.count)].prefix(700))
        if below(8) == 0 { bytes += seeds[below(seeds.count)].suffix(200) }
        for _ in 0..<below(5) {
            let index = below(bytes.count + 1)
            let end = min(bytes.count, index + below(12))
            switch below(6) {
            case 0: bytes.insert(UInt8(truncatingIfNeeded: next()), at: index)
            case 1: bytes.removeSubrange(index..<end)
            case 2, 3: bytes.insert(contentsOf: Self.phrases[below(Self.phrases.count)], at: index)
            case 4: bytes.insert(contentsOf: Array(bytes[index..<end]), at: below(bytes.count + 1))
            default: bytes.replaceSubrange(index..<end, with: bytes[index..<end].map { $0 ^ 1 << UInt8(below(8)) })
            }
        }
        return bytes
    }

    private mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(max(bound, 1))) }

    /// SplitMix64.
    private mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}
