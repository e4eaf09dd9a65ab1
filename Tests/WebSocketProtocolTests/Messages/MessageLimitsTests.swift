import NIOCore
import Testing

@testable import WebSocketProtocol

@Suite struct MessageLimitsTests {
    @Test(
        "A message of the limit passes, one byte more is refused at the header",
        arguments: [0, 1, 125, 126, 1000, 65535, 65536, 70_000]
    )
    func size(limit: Int) {
        for count in [limit - 1, limit] where count >= 0 {
            let bytes = ClientBytes.frame(0x82, Talk.pattern(count))
            #expect(transcript(bytes, maxMessageBytes: limit) == [.binary(Talk.pattern(count))])
            #expect(transcript(bytes, step: 4096, maxMessageBytes: limit) == [.binary(Talk.pattern(count))])
        }
        // The length alone, then silence: not even the mask key is needed.
        let header = ClientBytes.header(0x82, length: UInt64(limit) + 1).dropLast(4)
        #expect(transcript(Array(header), maxMessageBytes: limit) == [.violation(.messageTooBig)])
        #expect(transcript(Array(header), step: 1, maxMessageBytes: limit) == [.violation(.messageTooBig)])
    }

    @Test("The limit holds for the sum of the fragments")
    func sizeOfFragments() {
        func message(_ last: Int) -> [UInt8] {
            ClientBytes.frame(0x02, Talk.pattern(60)) + ClientBytes.frame(0x00, Talk.pattern(30))
                + ClientBytes.frame(0x80, Talk.pattern(last))
        }
        let whole = Talk.pattern(60) + Talk.pattern(30)
        #expect(transcript(message(9), maxMessageBytes: 100) == [.binary(whole + Talk.pattern(9))])
        #expect(transcript(message(10), maxMessageBytes: 100) == [.binary(whole + Talk.pattern(10))])
        #expect(transcript(message(11), maxMessageBytes: 100) == [.violation(.messageTooBig)])
    }

    @Test("The limits start anew with each message and don't count control frames")
    func anew() {
        let message =
            ClientBytes.frame(0x02, Talk.pattern(5)) + ClientBytes.frame(0x89, Talk.pattern(100))
            + ClientBytes.frame(0x80, Talk.pattern(5))
        let heard: [Heard] = [.ping(Talk.pattern(100)), .binary(Talk.pattern(5) + Talk.pattern(5))]
        #expect(transcript(message + message, maxMessageBytes: 10, maxFragments: 2) == heard + heard)
    }

    @Test("As many fragments as the limit pass, one more is refused at its first byte", arguments: [1, 2, 3, 128])
    func fragments(limit: Int) {
        func message(_ count: Int, _ payload: [UInt8]) -> [UInt8] {
            (0..<count).flatMap { index in
                ClientBytes.frame((index == 0 ? 0x02 : 0) | (index == count - 1 ? 0x80 : 0), payload)
            }
        }
        for payload in [[], [7]] as [[UInt8]] {
            for count in [limit - 1, limit] where count > 0 {
                let whole = [UInt8](repeating: 7, count: payload.count * count)
                #expect(transcript(message(count, payload), maxFragments: limit) == [.binary(whole)])
            }
            #expect(transcript(message(limit + 1, payload), maxFragments: limit) == [.violation(.tooManyFragments)])
            let open = (0..<limit).flatMap { ClientBytes.frame($0 == 0 ? 0x02 : 0, payload) }
            #expect(transcript(open, maxFragments: limit).isEmpty)
            #expect(transcript(open + [0x00], maxFragments: limit) == [.violation(.tooManyFragments)])
        }
    }

    @Test("131,000 one-byte continuations and a million empty ones end at the fragment limit")
    func floods() {
        for (count, payload) in [(131_000, [0x61]), (1_000_000, [])] as [(Int, [UInt8])] {
            let listener = Listener()
            listener.feed(ClientBytes.frame(0x01, payload))
            let burst = Array(repeatElement(ClientBytes.frame(0x00, payload), count: 1000).joined())
            for _ in 0..<count / 1000 {
                listener.feed(burst)
            }
            #expect(listener.heard == [.violation(.tooManyFragments)])
            #expect(listener.buffer.readableBytes == 0)
        }
    }

    @Test("A claimed length alone reserves little memory")
    func claims() {
        let listener = Listener(maxMessageBytes: 1 << 30)
        listener.feed(ClientBytes.header(0x82, length: 1 << 30) + [1])
        #expect(listener.heard.isEmpty)
        #expect(listener.reader.bytesAssembled == 1)
        #expect(listener.isAssembling)
        #expect(listener.reader.bytesReserved == 16 * 1024)
        listener.feed(Talk.pattern(20_000))
        #expect(listener.reader.bytesReserved == 32 * 1024)
    }

    @Test("Limits out of range are moved into it", arguments: [Int.min, -1, 0])
    func tooSmall(limit: Int) {
        #expect(transcript(ClientBytes.text(""), maxMessageBytes: limit, maxFragments: limit) == [.text("")])
        #expect(transcript(ClientBytes.text("a"), maxMessageBytes: limit) == [.violation(.messageTooBig)])
    }

    @Test("Without limits a length past 2 GiB is still refused")
    func noLimits() {
        let tooBig = ClientBytes.header(0x82, length: 1 << 31)
        #expect(transcript(tooBig, maxMessageBytes: .max, maxFragments: .max) == [.violation(.messageTooBig)])
        let fits = ClientBytes.header(0x82, length: 1 << 31 - 1)
        #expect(transcript(fits, maxMessageBytes: .max, maxFragments: .max).isEmpty)
        #expect(transcript(ClientBytes.text("a"), maxMessageBytes: .max, maxFragments: .max) == [.text("a")])
    }

    @Test("100,000 pings, pongs and empty messages leave nothing behind")
    func emptyFloods() {
        for frame in [ClientBytes.frame(0x89), ClientBytes.frame(0x8A), ClientBytes.frame(0x81)] {
            let listener = Listener()
            let burst = Array(repeatElement(frame, count: 1000).joined())
            for _ in 0..<100 {
                listener.feed(burst)
                #expect(listener.heard.count == 1000)
                listener.heard.removeAll(keepingCapacity: true)
                #expect(listener.buffer.readableBytes == 0)
            }
        }
    }
}
