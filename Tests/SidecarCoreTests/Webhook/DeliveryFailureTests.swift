import SidecarCore
import Testing

@Suite("Delivery failures")
struct DeliveryFailureTests {
    @Test(
        "Each failure has its outcome, close code and chance of a retry",
        arguments: [
            (.status(300), "3xx", 1011, false),
            (.status(302), "3xx", 1011, false),
            (.status(399), "3xx", 1011, false),
            (.status(400), "4xx", 1008, false),
            (.status(428), "4xx", 1008, false),
            (.status(429), "4xx", 1013, true),
            (.status(430), "4xx", 1008, false),
            (.status(499), "4xx", 1008, false),
            (.status(500), "5xx", 1011, false),
            (.status(501), "5xx", 1011, false),
            (.status(502), "5xx", 1013, true),
            (.status(503), "5xx", 1013, true),
            (.status(504), "5xx", 1013, true),
            (.status(505), "5xx", 1011, false),
            (.status(599), "5xx", 1011, false),
            (.timeout, "timeout", 1013, true),
            (.connect("refused"), "connect_error", 1013, true),
            (.connectionLost, "connect_error", 1013, true),
            (.badReply("x"), "bad_reply", 1011, false),
        ] as [(DeliveryFailure, String, UInt16, Bool)]
    )
    func table(failure: DeliveryFailure, outcome: String, code: UInt16, isTransient: Bool) {
        #expect(failure.outcome.rawValue == outcome)
        #expect(failure.closeCode.rawValue == code)
        #expect(failure.isTransient == isTransient)
        #expect(CloseRequest(code: Int(code), reason: "") != nil)
        #expect(!failure.closeReason.isEmpty && failure.closeReason.utf8.count <= CloseRequest.maxReasonBytes)
    }

    @Test("What the app answered is for the log, not for the client")
    func secrecy() {
        let failure = DeliveryFailure.badReply("secret")
        #expect(failure.sentence.contains("secret") && !failure.closeReason.contains("secret"))
        #expect(DeliveryFailure.connect("10.0.0.1").sentence.contains("10.0.0.1"))
        #expect(!DeliveryFailure.connect("10.0.0.1").closeReason.contains("10.0.0.1"))
        #expect(DeliveryFailure.status(418).sentence.contains("418"))
    }
}
