import NIOCore
import Testing

@testable import SidecarServer

@Suite("What is remembered for a short time")
struct ShortMemoryTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    @Test("Each is found for its time, and then holds nothing")
    func time() {
        let memory = ShortMemory<Int, String>(capacity: 10, for: .seconds(60))
        memory.remember("a", as: 1, at: start)
        memory.remember("b", as: 2, at: start + .seconds(30))
        #expect(memory.value(of: 1, at: start + .seconds(59)) == "a")
        #expect(memory.value(of: 1, at: start + .seconds(60)) == nil)
        #expect(memory.count == 1)
        #expect(memory.value(of: 2, at: start + .seconds(89)) == "b")
        #expect(memory.value(of: 2, at: start + .seconds(90)) == nil && memory.count == 0)
    }

    @Test("The oldest goes when there are too many, and one that was replaced counts from then on")
    func capacity() {
        let memory = ShortMemory<Int, Int>(capacity: 3, for: .seconds(60))
        for number in 0..<100 {
            memory.remember(number, as: number, at: start)
            #expect(memory.count <= 3)
        }
        #expect((97..<100).allSatisfy { memory.value(of: $0, at: start) == $0 })
        for round in 0..<100 { memory.remember(round, as: 99, at: start + .milliseconds(Int64(round))) }
        #expect(memory.value(of: 99, at: start + .seconds(1)) == 99 && memory.count <= 3)
    }
}
