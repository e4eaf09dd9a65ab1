import NIOCore
import Testing

@testable import SidecarServer

@Suite("What has become of sessions that other nodes have given to this one")
struct ArrivalsTests {
    private let now = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    private var arrivals = Arrivals()

    @Test("It is not known before its event loop has it, or has not")
    mutating func arriving() {
        #expect(arrivals.begin("a", at: now) == true)
        #expect(arrivals.state(of: "a", at: now) == .arriving)
        arrivals.end("a", isTaken: true, at: now)
        #expect(arrivals.state(of: "a", at: now) == .taken)
        #expect(arrivals.begin("b", at: now) == true)
        arrivals.end("b", isTaken: false, at: now)
        #expect(arrivals.state(of: "b", at: now) == .refused)
    }

    @Test("What was asked for before it came is not taken when it comes")
    mutating func refused() {
        #expect(arrivals.state(of: "a", at: now) == .refused)
        #expect(arrivals.begin("a", at: now) == false)
        #expect(arrivals.begin("a", at: now + .minutes(1)) == false)
    }

    @Test("What comes twice is taken once")
    mutating func twice() {
        #expect(arrivals.begin("a", at: now) == true)
        #expect(arrivals.begin("a", at: now) == false)
    }

    @Test("What is old is forgotten when there is much; beyond that nothing is said, and nothing is taken")
    mutating func bounded() {
        for number in 0..<200_000 { _ = arrivals.state(of: "\(number)", at: now) }
        #expect(arrivals.state(of: "one more", at: now + .seconds(119)) == nil)
        #expect(arrivals.begin("one more", at: now + .seconds(119)) == false)
        #expect(arrivals.state(of: "7", at: now + .seconds(119)) == .refused)
        #expect(arrivals.begin("one more", at: now + .seconds(121)) == true)
    }
}
