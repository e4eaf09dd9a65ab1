import Testing
import WebSocketProtocol

@Suite struct CloseCodeTests {
    /// RFC 6455 §7.4 and the IANA registry, written as ranges of their own.
    static func isLegal(_ code: Int) -> Bool {
        (1000...1003).contains(code) || (1007...1014).contains(code) || (3000...4999).contains(code)
    }

    @Test("Of all 65,536 codes exactly the legal ones may come from the wire")
    func receivable() {
        for code in UInt16.min...UInt16.max {
            #expect(CloseCode(receivable: code)?.rawValue == (Self.isLegal(Int(code)) ? code : nil))
        }
    }

    @Test("Each end of each legal range is tried at n-1, n and n+1")
    func edges() {
        let refused: [UInt16] = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]
        let taken: [UInt16] = [1000, 1001, 1002, 1003, 1007, 1008, 1013, 1014, 3000, 3001, 4998, 4999]
        #expect(refused.allSatisfy { CloseCode(receivable: $0) == nil })
        #expect(taken.allSatisfy { CloseCode(receivable: $0) != nil })
    }

    @Test(
        "An app may ask for any number and only legal codes are taken",
        arguments: [
            Int.min, -1, 0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535, 65536, 66536, 70000, Int.max,
        ]
    )
    func sendableRefused(code: Int) {
        #expect(CloseCode(sendable: code) == nil)
    }

    @Test("An app may ask for every legal code")
    func sendable() {
        for code in 0...6000 {
            #expect((CloseCode(sendable: code) != nil) == Self.isLegal(code))
        }
    }

    @Test("The codes that exist only in reports must not travel")
    func reportsOnly() {
        #expect(!CloseCode.noStatus.mayTravel)
        #expect(!CloseCode.abnormal.mayTravel)
        #expect(CloseCode.normal.mayTravel)
        #expect(CloseCode.tryAgainLater.mayTravel)
        #expect("\(CloseCode.goingAway)" == "1001")
    }

    @Test("Every violation has a code that may travel and a reason that fits")
    func violations() {
        for violation in ProtocolViolation.allCases {
            #expect([.protocolError, .invalidPayload, .tooBig].contains(violation.closeCode))
            #expect((1...123).contains(violation.reason.utf8.count))
            #expect(violation.reason.hasSuffix("."))
        }
    }
}
