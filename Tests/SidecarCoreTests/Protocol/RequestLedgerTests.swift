import NIOCore
import TestSupport
import Testing

@testable import SidecarCore

/// What happens to the ids of a client, for scripts that read as `step: what is said`.
private enum Step {
    case received(String, at: Int64)
    /// The app's message in answer.
    case message(String, String, at: Int64)
    case acknowledged(String, at: Int64)
    case refused(String, String, at: Int64)
    case forget(String)
}

/// A ledger whose answers are kept within a limit.
private struct Books {
    var ledger = RequestLedger()
    let limit: Int

    /// Does one step; what is said of a message that has come, else the bytes that are kept.
    mutating func perform(_ step: Step) -> String {
        switch step {
        case .received(let id, let time): return words(ledger.received(id, at: .at(time)))
        case .message(let id, let text, let time):
            ledger.answered(id, .message(ByteBuffer(string: text)), limit: limit, at: .at(time))
        case .acknowledged(let id, let time): ledger.answered(id, .acknowledged, limit: limit, at: .at(time))
        case .refused(let id, let text, let time):
            let content = ProtocolError.Content(.text, ByteBuffer(string: text))
            let error = ProtocolError(DeliveryFailure.status(422), about: id, content: content)
            ledger.answered(id, .error(error), limit: limit, at: .at(time))
        case .forget(let id): ledger.forget(id)
        }
        return "\(ledger.keptBytes)"
    }
}

private func words(_ verdict: RequestLedger.Verdict) -> String {
    switch verdict {
    case .new: "new"
    case .inProgress: "in progress"
    case .answered(.message(let frame)): "message \(String(buffer: frame))"
    case .answered(.acknowledged): "acknowledged"
    case .answered(.error(let error)):
        "\(error.code.rawValue) \(error.status ?? 0) \(error.content.map { String(buffer: $0.payload) } ?? "-")"
    }
}

@Suite("The ids of requests")
struct RequestLedgerTests {
    private static let overhead = RequestLedger.answerOverhead
    private static let minutes: Int64 = 5 * 60_000

    /// Plays a script of `step: what is said`.
    @discardableResult
    private func play(
        limit: Int = .max,
        _ script: KeyValuePairs<Step, String>,
        _ location: SourceLocation = #_sourceLocation
    ) -> RequestLedger {
        var books = Books(limit: limit)
        for (line, (step, expected)) in script.enumerated() {
            let said = books.perform(step)
            #expect(said == expected, "line \(line + 1), \(step)", sourceLocation: location)
        }
        return books.ledger
    }

    @Test("The limits are those of the protocol")
    func limits() {
        #expect(RequestLedger.mostIDs == 1_024)
        #expect(RequestLedger.window == .seconds(300))
    }

    @Test("An id is new, then in progress, then has its answer")
    func life() {
        play([
            .received("a", at: 0): "new",
            .received("a", at: 1): "in progress",
            .received("b", at: 2): "new",
            .message("a", "hello", at: 3): "261",
            .received("a", at: 4): "message hello",
            .received("a", at: 5): "message hello",
            .received("b", at: 6): "in progress",
            .acknowledged("b", at: 7): "517",
            .received("b", at: 8): "acknowledged",
            .received("A", at: 9): "new",
        ])
    }

    @Test("A refusal keeps its status and its content")
    func refusal() {
        play([
            .received("a", at: 0): "new",
            .refused("a", "no", at: 1): "258",
            .received("a", at: 2): "rejected 422 no",
        ])
    }

    @Test("Only the first answer counts, and only of an id that is at work")
    func strayAnswers() {
        play([
            .message("a", "stray", at: 0): "0",
            .received("a", at: 1): "new",
            .message("a", "first", at: 2): "261",
            .message("a", "the second", at: 3): "261",
            .received("a", at: 4): "message first",
        ])
    }

    @Test("What could not be handled is new when it comes again")
    func forgotten() {
        play([
            .received("a", at: 0): "new",
            .forget("a"): "0",
            .message("a", "stray", at: 1): "0",
            .received("a", at: 2): "new",
            .received("a", at: 3): "in progress",
            .message("a", "hello", at: 4): "261",
            .forget("a"): "261",
            .forget("b"): "261",
            .received("a", at: 5): "message hello",
            .received("b", at: 6): "new",
        ])
    }

    // MARK: Time

    @Test("An answer is remembered for five minutes from when it was given, asked for or not")
    func expiry() {
        play([
            .received("a", at: 0): "new",
            .received("b", at: 0): "new",
            .message("a", "1", at: 1_000): "257",
            .message("b", "22", at: 1_001): "515",
            .received("a", at: 1_000 + Self.minutes - 1): "message 1",
            .received("a", at: 1_000 + Self.minutes): "new",
            .received("b", at: 1_000 + Self.minutes): "message 22",
            .received("b", at: 1_001 + Self.minutes): "new",
            .forget("a"): "0",
        ])
    }

    @Test("What is at work has no time limit")
    func slow() {
        play([
            .received("a", at: 0): "new",
            .received("a", at: 100 * Self.minutes): "in progress",
            .message("a", "1", at: 100 * Self.minutes): "257",
            .received("a", at: 101 * Self.minutes - 1): "message 1",
            .received("a", at: 101 * Self.minutes): "new",
        ])
    }

    @Test("An answer ends those that are older than five minutes too")
    func expiryAtAnswer() {
        let ledger = play([
            .received("a", at: 0): "new",
            .received("b", at: 0): "new",
            .message("a", "123", at: 0): "259",
            .message("b", "1", at: Self.minutes): "257",
        ])
        #expect(ledger.keptBytes == 257)
    }

    // MARK: Numbers

    @Test("1,024 answers are remembered, and the oldest goes for one more")
    func count() {
        var ledger = RequestLedger()
        for number in 0..<1_024 {
            _ = ledger.received("\(number)", at: .at(0))
            ledger.answered("\(number)", .acknowledged, limit: .max, at: .at(0))
        }
        #expect(ledger.keptBytes == 1_024 * Self.overhead)
        for number in 0..<1_024 {
            let verdict = words(ledger.received("\(number)", at: .at(1)))
            #expect(verdict == "acknowledged", "\(number)")
        }
        _ = ledger.received("one more", at: .at(2))
        let oldestBefore = words(ledger.received("0", at: .at(2)))
        ledger.answered("one more", .acknowledged, limit: .max, at: .at(2))
        let second = words(ledger.received("1", at: .at(3)))
        let oldest = words(ledger.received("0", at: .at(3)))
        #expect([oldestBefore, second, oldest] == ["acknowledged", "acknowledged", "new"])
        #expect(ledger.keptBytes == 1_024 * Self.overhead)
    }

    @Test("The oldest is the one that was answered first, whenever it came")
    func order() {
        var ledger = RequestLedger()
        for id in ["slow", "fast"] { _ = ledger.received(id, at: .at(0)) }
        ledger.answered("fast", .acknowledged, limit: .max, at: .at(1))
        ledger.answered("slow", .acknowledged, limit: .max, at: .at(2))
        for number in 0..<1_023 {
            _ = ledger.received("\(number)", at: .at(3))
            ledger.answered("\(number)", .acknowledged, limit: .max, at: .at(3))
        }
        let slow = words(ledger.received("slow", at: .at(4)))
        let fast = words(ledger.received("fast", at: .at(4)))
        #expect(slow == "acknowledged" && fast == "new")
    }

    @Test("Ids at work are never forgotten, however many there are")
    func atWork() {
        var ledger = RequestLedger()
        for number in 0..<3_000 { _ = ledger.received("work \(number)", at: .at(0)) }
        for number in 0..<3_000 {
            _ = ledger.received("\(number)", at: .at(0))
            ledger.answered("\(number)", .acknowledged, limit: 0, at: .at(0))
        }
        for number in 0..<3_000 {
            let verdict = words(ledger.received("work \(number)", at: .at(10 * Self.minutes)))
            #expect(verdict == "in progress", "\(number)")
        }
        #expect(ledger.keptBytes == 0)
    }

    // MARK: Bytes

    @Test("Contents are kept up to the limit, and the oldest go first", arguments: [-1, 0, 1])
    func limit(beside: Int) {
        let full = 3 * Self.overhead + 200
        let text = String(repeating: "x", count: 100)
        var books = Books(limit: full + beside)
        var bytes: [String] = []
        for id in ["a", "b", "c"] {
            _ = books.perform(.received(id, at: 0))
            bytes.append(books.perform(.message(id, id == "a" ? "" : text, at: 0)))
        }
        let verdicts = ["a", "b", "c"].map { books.perform(.received($0, at: 1)) }
        if beside < 0 {
            #expect(bytes == ["256", "612", "868"])
            #expect(verdicts == ["acknowledged", "acknowledged", "message \(text)"])
        } else {
            #expect(bytes == ["256", "612", "968"])
            #expect(verdicts == ["message ", "message \(text)", "message \(text)"])
        }
    }

    @Test("As many contents go as have to, one after the other")
    func dropped() {
        play(
            limit: 4 * Self.overhead + 30,
            [
                .received("a", at: 0): "new",
                .message("a", "aaaaaaaaaa", at: 0): "266",
                .received("b", at: 0): "new",
                .refused("b", "bbbbbbbbbb", at: 0): "532",
                .received("c", at: 0): "new",
                .message("c", "cccccccccc", at: 0): "798",
                .received("d", at: 0): "new",
                // 30 bytes of contents fit, so one of ten bytes goes.
                .message("d", "dddddddddd", at: 0): "1054",
                .received("a", at: 1): "acknowledged",
                .received("b", at: 1): "rejected 422 bbbbbbbbbb",
                .received("c", at: 1): "message cccccccccc",
                .received("d", at: 1): "message dddddddddd",
                .received("e", at: 1): "new",
                // The overhead of a fifth leaves room for no content at all.
                .message("e", "eeeeeeeeee", at: 2): "1280",
                .received("b", at: 3): "rejected 422 -",
                .received("c", at: 3): "acknowledged",
                .received("d", at: 3): "acknowledged",
                .received("e", at: 3): "acknowledged",
                .received("e", at: 2 + Self.minutes): "new",
                .forget("e"): "0",
            ]
        )
    }

    @Test("Without any room only the fact is kept")
    func noRoom() {
        play(
            limit: 0,
            [
                .received("a", at: 0): "new",
                .message("a", "hello", at: 0): "256",
                .received("a", at: 0): "acknowledged",
                .received("b", at: 0): "new",
                .refused("b", "no", at: 0): "512",
                .received("b", at: 0): "rejected 422 -",
            ]
        )
    }

    @Test("All contents can be dropped, and those of later answers are kept again")
    func contentsDropped() {
        var books = Books(limit: .max)
        for id in ["a", "b"] { _ = books.perform(.received(id, at: 0)) }
        _ = books.perform(.message("a", "hello", at: 0))
        books.ledger.dropContents()
        let emptied = books.ledger.keptBytes
        let later = books.perform(.message("b", "hello", at: 0))
        let verdicts = ["a", "b"].map { books.perform(.received($0, at: 1)) }
        #expect(emptied == Self.overhead && later == "517")
        #expect(verdicts == ["acknowledged", "message hello"])
    }

    @Test("When emptied answers are forgotten, the next content to go is still the oldest one")
    func emptiedThenExpired() {
        play(
            limit: 2 * Self.overhead + 10,
            [
                .received("a", at: 0): "new",
                .received("b", at: 0): "new",
                .received("c", at: 0): "new",
                .received("d", at: 0): "new",
                .message("a", "aaaaaa", at: 0): "262",
                // Twelve bytes of contents are too many.
                .message("b", "bbbbbb", at: 1): "518",
                .received("a", at: 2): "acknowledged",
                .received("a", at: Self.minutes): "new",
                .forget("a"): "262",
                .message("c", "cccc", at: Self.minutes): "522",
                .received("b", at: Self.minutes): "message bbbbbb",
                .received("b", at: Self.minutes + 1): "new",
                .forget("b"): "260",
                .message("d", "dddddd", at: Self.minutes + 2): "522",
                .received("c", at: Self.minutes + 3): "message cccc",
                .received("x", at: Self.minutes + 3): "new",
                .acknowledged("x", at: Self.minutes + 4): "768",
                .received("c", at: Self.minutes + 5): "acknowledged",
                .received("d", at: Self.minutes + 5): "acknowledged",
            ]
        )
    }

    // MARK: Anything

    @Test("Whatever happens, it says what the books say, and counts the same bytes", arguments: UInt64(1)...8)
    func random(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let limit = [0, 1_000, 3_000, 20_000].randomElement(using: &random) ?? 0
        var books = Books(limit: limit)
        var model = NaiveLedger(limit: limit)
        var now: Int64 = 0
        var answers = 0
        for number in 0..<3_000 {
            now += Int64.random(in: 0...4_000, using: &random)
            if Int.random(in: 0..<400, using: &random) == 0 { now += Self.minutes }
            let id = "\(Int.random(in: 0..<60, using: &random))"
            let text = String(repeating: "x", count: Int.random(in: 0...300, using: &random))
            let step: Step =
                switch Int.random(in: 0..<8, using: &random) {
                case 0...2: .received(id, at: now)
                case 3, 4: .message(id, text, at: now)
                case 5: .refused(id, text, at: now)
                case 6: .acknowledged(id, at: now)
                default: .forget(id)
                }
            let said = books.perform(step)
            let expected = model.perform(step)
            if said.hasPrefix("message") || said.hasPrefix("rejected") { answers += 1 }
            if said != expected || books.ledger.keptBytes != model.bytes {
                Issue.record("seed \(seed), step \(number), \(step): \(said) instead of \(expected)")
                return
            }
        }
        #expect(answers > 20)
    }
}

/// The same, kept as a plain list that is looked through each time.
private struct NaiveLedger {
    private struct Line {
        let id: String
        let time: Int64
        /// What is said of it, with its content and without.
        let words: (full: String, empty: String)
        var content: Int
        var hasContent = true
    }

    let limit: Int
    private var working: Set<String> = []
    private var lines: [Line] = []

    init(limit: Int) { self.limit = limit }

    var bytes: Int { lines.reduce(0) { $0 + RequestLedger.answerOverhead + $1.content } }

    mutating func perform(_ step: Step) -> String {
        switch step {
        case .received(let id, let time):
            lines.removeAll { time - $0.time >= 300_000 }
            if working.contains(id) { return "in progress" }
            if let line = lines.first(where: { $0.id == id }) {
                return line.hasContent ? line.words.full : line.words.empty
            }
            working.insert(id)
            return "new"
        case .message(let id, let text, let time):
            answer(Line(id: id, time: time, words: ("message \(text)", "acknowledged"), content: text.utf8.count))
        case .refused(let id, let text, let time):
            let words = ("rejected 422 \(text)", "rejected 422 -")
            answer(Line(id: id, time: time, words: words, content: text.utf8.count))
        case .acknowledged(let id, let time):
            answer(Line(id: id, time: time, words: ("acknowledged", "acknowledged"), content: 0))
        case .forget(let id): working.remove(id)
        }
        return "\(bytes)"
    }

    private mutating func answer(_ line: Line) {
        guard working.remove(line.id) != nil else { return }
        lines.removeAll { line.time - $0.time >= 300_000 }
        lines.append(line)
        if lines.count > 1_024 { lines.removeFirst() }
        for index in lines.indices where bytes > limit {
            lines[index].content = 0
            lines[index].hasContent = false
        }
    }
}
