import NIOCore
import Testing

@testable import ControlPlane

@Suite("Idempotency keys")
struct IdempotentAnswersTests {
    @Test("The first answer to a key is every answer to it")
    func first() async throws {
        let answers = IdempotentAnswers()
        #expect(try await answers.answer(to: "a") { ByteBuffer(string: "1") } == ByteBuffer(string: "1"))
        #expect(try await answers.answer(to: "a") { ByteBuffer(string: "2") } == ByteBuffer(string: "1"))
        #expect(try await answers.answer(to: "b") { ByteBuffer(string: "2") } == ByteBuffer(string: "2"))
    }

    @Test("What is remembered has a bound in bytes; beyond it only known keys are answered")
    func bytes() async throws {
        let answers = IdempotentAnswers()
        let large = ByteBuffer(repeating: 0x78, count: 1 << 20)
        for number in 0..<(IdempotentAnswers.maxBytes >> 20) {
            _ = try await answers.answer(to: "\(number)") { large }
        }
        #expect(try await answers.answer(to: "0") { ByteBuffer() } == large)
        await #expect(throws: APIFault.self) { _ = try await answers.answer(to: "new") { ByteBuffer() } }
    }
}
