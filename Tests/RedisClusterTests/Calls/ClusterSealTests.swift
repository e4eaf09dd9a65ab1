import NIOCore
import SidecarCore
import Testing

@testable import RedisCluster

@Suite("What nodes send and store is sealed")
struct ClusterSealTests {
    private static let one = "the-first-secret-of-the-cluster"
    private static let two = "the-second-secret-of-the-cluster"
    private let text = ByteBuffer(string: "who closes whom")

    private func seal(_ secrets: String) -> ClusterSeal { ClusterSeal(ClusterSecrets(secrets)) }

    @Test("Opened by the same writer, as the same, with the same secret")
    func opens() {
        let sealed = seal(Self.one).seal(text, by: "a", as: "x")
        #expect(seal(Self.one).open(sealed, by: "a", as: "x") == text)
        #expect(!String(buffer: sealed).contains("closes"))
        #expect(seal(Self.one).open(sealed, by: "b", as: "x") == nil)
        #expect(seal(Self.one).open(sealed, by: "a", as: "y") == nil)
        #expect(seal(Self.two).open(sealed, by: "a", as: "x") == nil)
    }

    @Test("During a rotation both secrets open, and the first one seals")
    func rotates() {
        let old = seal(Self.one).seal(text, by: "a", as: "x")
        let both = seal("\(Self.two) \(Self.one)")
        #expect(both.open(old, by: "a", as: "x") == text)
        #expect(seal(Self.two).open(both.seal(text, by: "a", as: "x"), by: "a", as: "x") == text)
    }

    @Test("With a secret nothing plain is taken, without one nothing sealed")
    func plain() {
        let none = ClusterSeal(nil)
        let plain = none.seal(text, by: "a", as: "x")
        #expect(none.open(plain, by: "a", as: "x") == text)
        #expect(seal(Self.one).open(plain, by: "a", as: "x") == nil)
        #expect(none.open(seal(Self.one).seal(text, by: "a", as: "x"), by: "a", as: "x") == nil)
    }

    @Test("Every changed, cut and empty message is refused")
    func changed() {
        let sealed = seal(Self.one).seal(text, by: "a", as: "x")
        for index in 0..<sealed.readableBytes {
            var bytes = Array(sealed.readableBytesView)
            bytes[index] ^= 1
            #expect(seal(Self.one).open(ByteBuffer(bytes: bytes), by: "a", as: "x") == nil)
            let cut = ByteBuffer(bytes: sealed.readableBytesView.prefix(index))
            #expect(seal(Self.one).open(cut, by: "a", as: "x") == nil)
        }
    }
}

@Suite("Messages from node to node")
struct CallHeadTests {
    @Test("A head is read as it was written")
    func roundTrip() {
        let head = CallHead(.question, sender: "0123456789abcdef", number: 7, time: 1_795_428_000_123)
        var bytes = ByteBuffer(string: head.text + "\nbody")
        #expect(CallHead(&bytes) == head)
        #expect(String(buffer: bytes) == "body")
    }

    @Test(
        "Anything else is refused",
        arguments: [
            "", "\n", "1 q a 7 1", "2 q a 7 1\n", "1 z a 7 1\n", "1 q  7 1\n", "1 q a -7 1\n", "1 q a 7\n",
            "1 q a 7 1 1\n",
            "1 q a 99999999999999999999 1\n", "1 q \(String(repeating: "a", count: 33)) 7 1\n",
            "1 q a 7 \(String(repeating: "1", count: 200))\n",
        ]
    )
    func refused(text: String) {
        var bytes = ByteBuffer(string: text)
        #expect(CallHead(&bytes) == nil)
    }

    @Test("Each number is taken once, in any order within the window")
    func numbers() {
        var seen = SeenNumbers()
        func taken(_ numbers: some Sequence<UInt64>) -> [UInt64] { numbers.filter { seen.take($0) } }
        #expect(taken([3, 1, 2, 5000, 4000, 4999]) == [3, 1, 2, 5000, 4000, 4999])
        #expect(taken([0, 1, 3, 3976, 4000, 4999, 5000]) == [])
        #expect(taken(5001...20_000).count == 15_000)
        #expect(taken(18_977...20_000) == [])
        #expect(taken([.max, .max, 20_001]) == [.max])
    }
}
