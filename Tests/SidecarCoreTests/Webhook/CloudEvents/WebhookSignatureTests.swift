import NIOCore
import Testing

@testable import SidecarCore

@Suite("Webhook signature")
struct WebhookSignatureTests {
    private func lines(_ secrets: String, id: String, at: Int64, _ body: String) throws -> [String] {
        var buffer = ByteBuffer()
        try #require(WebhookSecrets(secrets))
            .write(id: id, unixSeconds: at, body: ByteBuffer(string: body), into: &buffer)
        return Heads.lines(buffer)
    }

    @Test("The example of the Standard Webhooks libraries comes out the same")
    func known() throws {
        let lines = try lines(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            at: 1_614_265_330,
            #"{"test": 2432232314}"#
        )
        #expect(
            lines == [
                "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp: 1614265330",
                "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "",
            ]
        )
    }

    @Test("Several secrets sign all, in their order")
    func several() throws {
        let one = "whsec_" + String(repeating: "A", count: 32)
        let two = "whsec_" + String(repeating: "B", count: 32)
        let both = try lines("\(one)  \(two)", id: "a-1", at: 1, "x")
        let alone = try [one, two].map {
            try lines($0, id: "a-1", at: 1, "x")[2].dropFirst("webhook-signature: ".count)
        }
        #expect(both[2] == "webhook-signature: \(alone[0]) \(alone[1])" && alone[0] != alone[1])
    }

    @Test(
        "What is no secret is refused",
        arguments: [
            "", " ", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "whsec_!fKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw whsec_x", "whsec_" + String(repeating: "A", count: 88),
        ]
    )
    func bad(text: String) {
        #expect(WebhookSecrets(text) == nil)
    }
}
