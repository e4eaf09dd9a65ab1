import NIOCore
import Testing

@testable import SidecarCore

@Suite("A session on its way to another node")
struct SessionRecordTests {
    private let now = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    private let record: SessionRecord
    private let room: ChannelName

    init() throws {
        let room = try #require(ChannelName("room:1"))
        let now = now
        self.room = room
        var stream = DirectStream()
        var requests = RequestLedger()
        var places = ChannelPlaces()
        for text in ["one", "two", "three"] { _ = stream.append(ByteBuffer(string: text), limit: 1_000) }
        _ = stream.acknowledge(1)
        for (id, answer) in [
            ("a", RequestLedger.Answer.message(ByteBuffer(string: "one"))), ("b", .acknowledged),
            (
                "c",
                .error(
                    ProtocolError(
                        .rejected,
                        about: "c",
                        "no",
                        status: 422,
                        mayRetry: false,
                        content: .init(.json, ByteBuffer(string: "{}"))
                    )
                )
            ),
        ] {
            _ = requests.received(id, at: now)
            requests.answered(id, answer, limit: 10_000, at: now - .seconds(60))
        }
        func position(_ offset: UInt64) -> ChannelPosition {
            ChannelPosition(offset: offset, epoch: ChannelEpoch(7), id: MessageID(offset + 100), in: room)
        }
        places.joined(room, ifNewAt: position(3))
        places.skipped(room, position(5), after: position(4))
        record = SessionRecord(
            id: "abc",
            connection: [1, 2, 3],
            identity: ConnectionIdentity(user: "bob", state: "s"),
            token: .init(user: "bob", expiresAt: 1_800_000_000.5),
            standing: .init(sequence: 12, messagesIn: 4, messagesOut: 3, age: .seconds(90)),
            messageDebt: 5,
            byteDebt: 6,
            publications: 2,
            openedAt: 1_795_000_000_000,
            channels: [room],
            places: places,
            requests: requests,
            stream: stream,
            tokens: [try #require(ResumeToken.Hash(String(repeating: "0f", count: 16)))],
            terms: [9, 9],
            absence: .init(
                code: .abnormal,
                reason: "",
                initiator: .network,
                cause: .connectionLost,
                left: .seconds(30),
                isTold: true
            ),
            attemptAge: .seconds(7)
        )
    }

    @Test("It is read as it was written")
    func roundTrip() throws {
        let bytes = record.bytes(at: now)
        var read = try SessionRecord(bytes: bytes, at: now)
        #expect(read.id == "abc" && read.connection == [1, 2, 3] && read.identity == record.identity)
        #expect(read.token == record.token && read.standing == record.standing && read.channels == [room])
        #expect(read.messageDebt == 5 && read.byteDebt == 6 && read.publications == 2)
        #expect(read.openedAt == record.openedAt && read.tokens == record.tokens && read.terms == [9, 9])
        #expect(read.absence == record.absence && read.attemptAge == .seconds(7))
        // Written once more it is the same, so nothing of it is lost.
        #expect(read.bytes(at: now) == bytes)
        #expect(read.stream.frames(after: 1)?.map { String(buffer: $0) } == ["two", "three"])
        #expect(read.stream.frames(after: 0) == nil && read.stream.next == 4)
        guard case .answered(.message(let frame)) = read.requests.received("a", at: now) else {
            Issue.record("the answer is lost")
            return
        }
        #expect(String(buffer: frame) == "one")
        guard case .answered(.error(let error)) = read.requests.received("c", at: now) else {
            Issue.record("the error is lost")
            return
        }
        #expect(error.status == 422 && error.id == "c" && error.content?.format == .json)
        #expect(read.places.start(in: room, after: nil)?.offset == 3)
        let spared = ResumeRequest.Position(offset: 4, epoch: ChannelEpoch(7), id: MessageID(104))
        #expect(read.places.start(in: room, after: spared)?.offset == 5)
    }

    @Test("Ages go on while it moves")
    func ages() throws {
        let later = NIODeadline.uptimeNanoseconds(777_000_000_000)
        var read = try SessionRecord(bytes: record.bytes(at: now), at: later)
        // Of the five minutes one has passed.
        guard case .answered = read.requests.received("a", at: later + .seconds(239)) else {
            Issue.record("it is forgotten too early")
            return
        }
        guard case .new = read.requests.received("a", at: later + .seconds(240)) else {
            Issue.record("it is remembered for too long")
            return
        }
    }

    @Test("What is cut off is refused, and no byte of it reaches a trap")
    func damage() throws {
        let bytes = record.bytes(at: now)
        for length in 0..<bytes.count {
            #expect(throws: JournalFault.self) { try SessionRecord(bytes: Array(bytes.prefix(length)), at: now) }
        }
        for index in bytes.indices {
            for value in [0, 1, 0x7F, 0x80, 0xFF] as [UInt8] {
                var damaged = bytes
                damaged[index] = value
                guard var read = try? SessionRecord(bytes: damaged, at: now) else { continue }
                // Whatever it says now, it can be worked with.
                _ = read.bytes(at: now)
                _ = read.stream.append(ByteBuffer(string: "more"), limit: 100)
                _ = read.stream.frames(after: 0)
                _ = read.requests.received("a", at: now)
                _ = read.requests.received("new", at: now + .hours(1))
                var machine = SessionStateMachine(read.standing, maxBatch: 1, at: now)
                _ = machine.received(.text, ByteBuffer(), at: 0)
                var allowance = MessageAllowance(perConnection: GCRA(Rate(1, per: .seconds(1))), bytes: nil, dryRun: [])
                allowance.owe(messages: read.messageDebt, bytes: read.byteDebt, now: 0)
                _ = allowance.takeInDebt(payloadBytes: 1, now: 0) { _ in }
            }
        }
    }

    @Test("A later version may add what this one does not know")
    func laterVersions() throws {
        let more: [UInt8] = [200, 0, 0, 0, 1, 7]
        #expect(try SessionRecord(bytes: record.bytes(at: now) + more, at: now).id == "abc")
    }

    @Test("Rates go along, and at most for a day")
    func debts() throws {
        let rate = GCRA(Rate(2, per: .seconds(10)))
        var allowance = MessageAllowance(perConnection: rate, bytes: nil, dryRun: [])
        for _ in 0..<2 { _ = allowance.takeInDebt(payloadBytes: 1, now: 0) { _ in } }
        var other = MessageAllowance(perConnection: rate, bytes: nil, dryRun: [])
        let debts = allowance.debts(now: 1_000)
        #expect(debts.messages == 10_000_000_000 - 1_000 && debts.bytes == 0)
        other.owe(messages: debts.messages, bytes: debts.bytes, now: 77)
        #expect(other.debts(now: 77) == debts)
        other.owe(messages: .max, bytes: .min, now: 77)
        #expect(other.debts(now: 77) == (86_400_000_000_000, 0))
    }

    @Test("A token names the node that made it, and a hash is read as it was written")
    func tokens() throws {
        let token = ResumeToken.make(by: "0123456789abcdef") { 5 }
        #expect(token.text.utf8.count == 59 && token.node == "0123456789abcdef")
        #expect(ResumeToken(token.text) == token && ResumeToken(token.text)?.hash == token.hash)
        #expect(ResumeToken.make { 5 }.node == nil && ResumeToken.make { 5 }.hash != token.hash)
        #expect(ResumeToken.Hash(token.hash.text) == token.hash)
        for text in ["", "0f", String(repeating: "g", count: 32), String(repeating: "0", count: 33)] {
            #expect(ResumeToken.Hash(text) == nil)
        }
        #expect(ResumeToken(String(token.text.dropLast())) == nil)
    }
}
